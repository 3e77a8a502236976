//! What a node does as a relay, where its operator made it one: it keeps places for nodes that nobody reaches, and leads
//! others to them. A circuit is small and short, so that a relay carries no films.

use std::num::NonZeroU32;
use std::time::Duration;

use libp2p::{PeerId, relay};

use crate::config::RelayLimits;
use crate::reach::Relaying;

/// Places, and circuits, of one node.
const OF_PEER: usize = 2;
/// A node may ask for this many places and circuits at once, and for one more after each [`EVERY`].
const ASKED_BY_PEER: NonZeroU32 = NonZeroU32::new(12).unwrap();
/// The same for an address, behind which several nodes may be.
const ASKED_BY_ADDRESS: NonZeroU32 = NonZeroU32::new(48).unwrap();
/// See [`ASKED_BY_PEER`].
const EVERY: Duration = Duration::from_secs(30);
/// How long a place is kept, unless it is asked for again.
const KEPT: Duration = Duration::from_hours(1);

/// The relay's side. `local`: a node that keeps to a local network is a relay there, whoever reaches it from outside.
pub(crate) fn server(me: PeerId, limits: &RelayLimits, local: bool) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: limits.reservations as usize,
        max_reservations_per_peer: OF_PEER,
        reservation_duration: KEPT,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits.circuits as usize,
        max_circuits_per_peer: OF_PEER,
        max_circuit_duration: limits.circuit_time,
        max_circuit_bytes: limits.circuit_bytes,
        circuit_src_rate_limiters: Vec::new(),
    };
    let config = config
        .reservation_rate_per_peer(ASKED_BY_PEER, EVERY)
        .reservation_rate_per_ip(ASKED_BY_ADDRESS, EVERY)
        .circuit_src_per_peer(ASKED_BY_PEER, EVERY)
        .circuit_src_per_ip(ASKED_BY_ADDRESS, EVERY);
    let mut server = relay::Behaviour::new(me, config);
    if local {
        server.set_status(Some(relay::Status::Enable));
    }
    server
}

/// Counts what is kept.
pub(crate) fn count(event: &relay::Event, kept: &mut Relaying) {
    match event {
        relay::Event::ReservationReqAccepted { src_peer_id, .. } => {
            kept.reservations.insert(*src_peer_id);
        }
        relay::Event::ReservationClosed { src_peer_id } | relay::Event::ReservationTimedOut { src_peer_id } => {
            kept.reservations.remove(src_peer_id);
        }
        relay::Event::CircuitReqAccepted { .. } => {
            kept.circuits += 1;
            kept.led = kept.led.saturating_add(1);
        }
        relay::Event::CircuitClosed { .. } => kept.circuits = kept.circuits.saturating_sub(1),
        relay::Event::ReservationReqDenied { .. } | relay::Event::CircuitReqDenied { .. } => {
            kept.refused = kept.refused.saturating_add(1);
        }
        _ => {}
    }
}
