//! What the swarm tells the loop: connections, and the events of each behaviour.

use std::time::Instant;

use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, RecordKey};
use libp2p::swarm::{ConnectionId, DialError, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, autonat, dcutr, gossipsub, identify, mdns, ping, relay};

use super::behaviour::{BehaviourEvent, is_local};
use super::{Loop, MOST_ADDRESSES};
use crate::announce;
use crate::book;
use crate::config::{Role, Transport, bare, is_dialable, is_relayed, is_route};
use crate::gate::{Reach, ip_of, may_be_named, placed, reach};
use crate::net::Peer;
use crate::reach::Standing;
use crate::{KAD, relaying, table};

/// How long a peer that was reached through a relay is given to be reached directly, before it is taken as it is.
const PUNCHING: std::time::Duration = std::time::Duration::from_secs(4);
/// Peers of the local network that are dialled.
const MOST_NEIGHBOURS: usize = 32;

impl Loop {
    pub(super) fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.peers.remove(&connection_id);
                if num_established == 0 {
                    self.said.remove(&peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. }
                if !matches!(error, DialError::DialPeerConditionFalse(_)) =>
            {
                tracing::debug!(%peer, %error, "not reached");
                self.counted.failed_dials += 1;
                self.dialled(peer, Some(&error));
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "the swarm listens");
                // An address of this machine that the whole world can reach is one to be told.
                if ip_of(&address).is_some() && reach(&address) == Reach::Everywhere && !is_relayed(&address) {
                    self.swarm.add_external_address(address);
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.swarm.remove_external_address(&address),
            SwarmEvent::ListenerClosed { reason: Err(error), addresses, .. } if !addresses.iter().all(is_relayed) => {
                tracing::error!(%error, "the swarm listens no longer at one of its addresses");
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::error!(%error, "the swarm listens no longer at one of its addresses");
            }
            SwarmEvent::Behaviour(event) => self.behaviour(event),
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let address = endpoint.get_remote_address().clone();
        let inbound = endpoint.is_listener();
        tracing::debug!(%peer, %address, inbound, "connected");
        if !inbound {
            self.book.met(peer, bare(address.clone()), book::now());
        }
        let relayed = is_relayed(&address) || is_relayed(local_address(endpoint));
        self.peers
            .insert(id, Peer { id: peer, address, inbound, relayed, agent: None, is_full: false, round_trip: None });
        let direct = self.peers.values().any(|known| known.id == peer && !known.relayed);
        if direct {
            self.unpunched.remove(&peer);
        }
        if direct || self.unpunched.contains(&peer) {
            self.punching.remove(&peer);
            self.dialled(peer, None);
        } else {
            self.punching.entry(peer).or_insert_with(|| Instant::now() + PUNCHING);
        }
    }

    fn behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Ping(ping::Event { connection, result: Ok(time), .. }) => {
                if let Some(peer) = self.peers.get_mut(&connection) {
                    peer.round_trip = Some(time);
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                self.identified(connection_id, peer_id, info);
            }
            BehaviourEvent::Kad(event) => self.kad(event),
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                let (verdict, offence) = self.gossip.judge(propagation_source, &message);
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message_id, &propagation_source, verdict.acceptance());
                if let Some(offence) = offence {
                    self.note(propagation_source, offence);
                }
            }
            BehaviourEvent::Reached(standing) => self.stand(standing),
            BehaviourEvent::Tested(autonat::v2::client::Event { tested_addr, result, .. }) => {
                let result = result.map_err(|error| error.to_string());
                self.swarm.behaviour_mut().reached.tested(tested_addr, result);
            }
            BehaviourEvent::Relay(event) => relaying::count(&event, &mut self.swarm.behaviour_mut().reached.relaying),
            BehaviourEvent::Relayed(relay::client::Event::ReservationReqAccepted { relay_peer_id, .. }) => {
                self.swarm.behaviour_mut().reached.reserved(relay_peer_id);
            }
            BehaviourEvent::Punch(dcutr::Event { remote_peer_id: peer, result }) => {
                tracing::debug!(%peer, ?result, "punching a hole");
                self.swarm.behaviour_mut().reached.punched(result.is_ok());
                if result.is_err() && self.punching.remove(&peer).is_some() {
                    self.dialled(peer, None);
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found.into_iter().take(MOST_NEIGHBOURS) {
                    if peer != *self.swarm.local_peer_id() && self.peers.len() < MOST_NEIGHBOURS {
                        self.dial(peer, vec![address]);
                    }
                }
            }
            _ => {}
        }
    }

    /// A node that nobody reaches is no part of the hash table: it would only be waited for.
    fn stand(&mut self, standing: Standing) {
        let mode = match (self.config.role, standing) {
            (Role::Leaf, _) => return,
            (_, Standing::Relayed | Standing::Unreached) if !is_local(&self.config) => kad::Mode::Client,
            _ => kad::Mode::Server,
        };
        self.swarm.behaviour_mut().kad.set_mode(Some(mode));
    }

    fn identified(&mut self, connection: ConnectionId, peer: PeerId, info: identify::Info) {
        let Some(known) = self.peers.get_mut(&connection) else { return };
        let reached = &mut self.swarm.behaviour_mut().reached;
        reached.identified(peer, connection, &known.address, known.inbound, &info);
        known.agent = Some(info.agent_version.chars().filter(|c| !c.is_control()).take(60).collect());
        known.is_full = info.protocols.contains(&KAD);
        let believed = reach(&known.address);
        // An inbound connection's own address is a port that nobody listens on.
        let dialled = (!known.inbound).then(|| known.address.clone());
        let learnt = info.listen_addrs.into_iter().filter(|a| reach(a) <= believed).take(MOST_ADDRESSES).collect();
        let mut learnt = self.placed(&peer, learnt);
        learnt.retain(is_dialable);
        self.said.insert(peer, learnt.clone());
        if !info.protocols.contains(&KAD) {
            return;
        }
        for address in dialled.into_iter().map(bare).chain(learnt) {
            let me = *self.swarm.local_peer_id();
            let kad = &mut self.swarm.behaviour_mut().kad;
            if is_dialable(&address) && table::may_enter(kad, me, peer, &address) {
                kad.add_address(&peer, address);
            }
        }
    }

    /// What of the addresses that a peer says it has is believed.
    fn placed(&self, peer: &PeerId, said: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let said = said.into_iter().map(bare).filter(is_route);
        // In one process there are no hosts.
        if is_local(&self.config) || self.config.transport == Transport::Memory {
            return said.collect();
        }
        let direct = self.peers.values().filter(|known| known.id == *peer && !known.relayed);
        placed(&direct.filter_map(|known| ip_of(&known.address)).collect(), said)
    }

    /// Addresses of a peer that the hash table named just now. The table forgets them when the query ends.
    pub(super) fn addresses_in_query(&mut self, peer: PeerId) -> Vec<Multiaddr> {
        let (id, kad) = (ConnectionId::new_unchecked(0), &mut self.swarm.behaviour_mut().kad);
        let known = kad.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer).unwrap_or_default();
        let local = is_local(&self.config);
        let believed = |a: &Multiaddr| if local { is_route(a) } else { may_be_named(a) };
        known.into_iter().map(bare).filter(believed).take(MOST_ADDRESSES).collect()
    }

    fn kad(&mut self, event: kad::Event) {
        match event {
            // The library has checked that the provider is the one who sent it.
            kad::Event::InboundRequest { request: kad::InboundRequest::AddProvider { record: Some(mut record) } } => {
                record.addresses = self.placed(&record.provider, std::mem::take(&mut record.addresses));
                if record.addresses.is_empty() {
                    return;
                }
                let store = self.swarm.behaviour_mut().kad.store_mut();
                if store.may_bring(record.provider, 1) {
                    let _ = store.add_provider(record);
                }
            }
            // A list of keys that its sender provides. Nothing else is kept for others.
            kad::Event::InboundRequest { request: kad::InboundRequest::PutRecord { source, record: Some(record), .. } } => {
                self.listed(source, &record);
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. }
                // Whoever comes first opens the table; what waits to be asked or announced can be now.
                if self.routing() == 1 => {
                    let _ = self.swarm.behaviour_mut().kad.bootstrap();
                    self.ask_held();
                    self.announcer.again();
                    self.announce();
                }
            kad::Event::OutboundQueryProgressed { id, result, step, stats } => {
                if step.last {
                    self.counted.questions += u64::from(stats.num_requests());
                }
                let me = *self.swarm.local_peer_id();
                let kad = &mut self.swarm.behaviour_mut().kad;
                if self.announcer.progressed(id, &result, step.last, me, kad) {
                    return self.announce();
                }
                if let kad::QueryResult::GetProviders(Ok(found)) = result
                    && let kad::GetProvidersOk::FoundProviders { providers, .. } = found
                {
                    for peer in providers {
                        let addresses = self.addresses_in_query(peer);
                        if let Some(finding) = self.finding.get(&id) {
                            // If nobody takes them, there are enough.
                            let _ = finding.found.try_send((peer, addresses));
                        }
                    }
                }
                if step.last {
                    self.finding.remove(&id);
                }
            }
            _ => {}
        }
    }

    /// A peer says that it has all these.
    fn listed(&mut self, peer: PeerId, record: &kad::Record) {
        let Some((keys, addresses)) = announce::read(record) else { return };
        let addresses = self.placed(&peer, addresses);
        let store = self.swarm.behaviour_mut().kad.store_mut();
        if addresses.is_empty() || !store.may_bring(peer, keys.len()) {
            return;
        }
        for key in keys {
            let record = kad::ProviderRecord::new(RecordKey::new(&key), peer, addresses.clone());
            let _ = store.add_provider(record);
        }
    }
}

/// The address on this side, where the peer came to us.
fn local_address(endpoint: &ConnectedPoint) -> &Multiaddr {
    match endpoint {
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
        ConnectedPoint::Dialer { address, .. } => address,
    }
}
