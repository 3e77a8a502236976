//! The swarm's part of `/metrics`, in the text format of Prometheus (version 0.0.4). The loop takes the figures when it is
//! asked for them; nothing is kept ready.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::error::Result;
use crate::gate::Offence;
use crate::net::{Net, Peer};
use crate::reach::{Reachability, Standing};
use crate::swarm::Command;

/// What the loop counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// Bytes that did not verify, messages against the protocol, slowness.
    pub offences: [u64; 5],
    pub bans: u64,
    pub dials: u64,
    pub failed_dials: u64,
    pub refused_connections: u64,
    pub refused_streams: u64,
    /// Records that others were refused, or that made room.
    pub refused_records: u64,
    pub told: u64,
    pub untold: u64,
    pub refused_as_relay: u64,
    pub circuits: u64,
    /// Questions to nodes of the hash table.
    pub questions: u64,
}

impl Counted {
    pub fn note(&mut self, offence: Offence) {
        let at = match offence {
            Offence::BadData => 0,
            Offence::Protocol => 1,
            Offence::Slow => 2,
            Offence::Flood => 3,
            Offence::Forgery => 4,
        };
        if let Some(count) = self.offences.get_mut(at) {
            *count += 1;
        }
    }
}

/// How the loop is.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub counted: Counted,
    pub peers: Vec<Peer>,
    pub banned: usize,
    pub routing: usize,
    pub nodes: u64,
    pub announcing: usize,
    pub unannounced: usize,
    pub records: (usize, usize),
    pub reached: Reachability,
}

impl Net {
    /// The swarm's families for `/metrics`.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn metrics(&self) -> Result<String> {
        let figures = self.to_loop(Command::Figures).await?;
        let sent = self.sent_bytes();
        let (received, fetches) = self.traffic().totals();
        Ok(text(&figures, sent, received, fetches))
    }
}

/// By which transport a connection goes.
fn transport(address: &Multiaddr) -> &'static str {
    let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
    if has(|part| matches!(part, Protocol::QuicV1)) {
        "quic"
    } else if has(|part| matches!(part, Protocol::Tcp(_))) {
        "tcp"
    } else {
        "other"
    }
}

fn text(figures: &Figures, sent: u64, received: u64, fetches: [u64; 3]) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        let _ = writeln!(out, "# HELP fondaco_swarm_{name} {help}\n# TYPE fondaco_swarm_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "fondaco_swarm_{name}{labels} {value}");
        }
    };
    let Counted { offences, .. } = figures.counted;
    let counted = &figures.counted;
    let one = |value: u64| vec![(String::new(), value)];
    let number = |value: usize| one(value as u64);
    let mut connections: BTreeMap<(&str, &str, bool), u64> = BTreeMap::new();
    for peer in &figures.peers {
        let way = if peer.inbound { "inbound" } else { "outbound" };
        *connections.entry((way, transport(&peer.address), peer.relayed)).or_default() += 1;
    }
    let samples: Vec<_> = connections
        .iter()
        .map(|((way, transport, relayed), count)| {
            (format!("{{direction=\"{way}\",transport=\"{transport}\",relayed=\"{relayed}\"}}"), *count)
        })
        .collect();
    family("connections", "gauge", "Open connections to peers.", &samples);
    family("sent_bytes_total", "counter", "Bytes sent to peers.", &one(sent));
    family("received_bytes_total", "counter", "Bytes from peers that verified.", &one(received));
    let labelled = |label: &str, all: &[(&str, u64)]| -> Vec<(String, u64)> {
        all.iter().map(|(value, count)| (format!("{{{label}=\"{value}\"}}"), *count)).collect()
    };
    let [began, well, ill] = fetches;
    let ends = [("began", began), ("done", well), ("failed", ill)];
    family("fetches_total", "counter", "Fetches from the swarm, by how far they came.", &labelled("state", &ends));
    let [bad, protocol, slow, flood, forged] = offences;
    family("verify_failures_total", "counter", "Answers of peers that did not verify.", &one(bad));
    let kinds = [("bad-data", bad), ("protocol", protocol), ("slow", slow), ("flood", flood), ("forgery", forged)];
    family("offences_total", "counter", "What peers did that they should not have done.", &labelled("kind", &kinds));
    family("bans_total", "counter", "Peers that were banned.", &one(counted.bans));
    family("banned_peers", "gauge", "Peers that are banned now.", &number(figures.banned));
    family("dials_total", "counter", "Peers that were dialled for this node's sake.", &one(counted.dials));
    family("dial_failures_total", "counter", "Dials that reached nobody.", &one(counted.failed_dials));
    let refused = counted.refused_connections;
    family("refused_connections_total", "counter", "Connections over a limit of address or network.", &one(refused));
    family(
        "refused_streams_total",
        "counter",
        "Streams that were told that there is no room.",
        &one(counted.refused_streams),
    );
    family("routing_peers", "gauge", "Peers in the hash table's buckets.", &number(figures.routing));
    let questions = counted.questions;
    family("table_questions_total", "counter", "Questions to nodes of the hash table.", &one(questions));
    family("estimated_nodes", "gauge", "Nodes of the hash table, as the nearest ones let guess.", &one(figures.nodes));
    let (ours, theirs) = (figures.records.0 as u64, figures.records.1 as u64);
    let records = labelled("whose", &[("ours", ours), ("theirs", theirs)]);
    family("provider_records", "gauge", "Provider records that are kept.", &records);
    let refused = counted.refused_records;
    family("refused_records_total", "counter", "Others' records that were refused, or made room.", &one(refused));
    family("announced_keys", "gauge", "Releases that this node announces.", &number(figures.announcing));
    family("announce_queue", "gauge", "Those among them that have still to be told.", &number(figures.unannounced));
    let told = labelled("outcome", &[("sent", counted.told), ("failed", counted.untold)]);
    family("announcements_total", "counter", "Copies of records sent, and messages that failed.", &told);
    let reached = &figures.reached;
    let is = |standing: Standing| u64::from(reached.standing == standing);
    let standing = [
        ("unknown", is(Standing::Unknown)),
        ("direct", is(Standing::Direct)),
        ("relayed", is(Standing::Relayed)),
        ("unreached", is(Standing::Unreached)),
    ];
    family("reached", "gauge", "How others reach this node.", &labelled("how", &standing));
    let places = reached.places.iter().filter(|place| place.kept).count();
    family("relay_places", "gauge", "Relays that keep a place for this node.", &number(places));
    let holes = labelled("outcome", &[("punched", reached.punched.0), ("failed", reached.punched.1)]);
    family("holes_total", "counter", "Attempts to connect directly after a relay.", &holes);
    family("relay_reservations", "gauge", "Places that this node keeps as a relay.", &number(reached.relaying.0));
    family("relay_circuits", "gauge", "Connections that it leads as a relay.", &number(reached.relaying.1));
    family("relay_circuits_total", "counter", "Connections that it has led.", &one(counted.circuits));
    let refused = counted.refused_as_relay;
    family("relay_refused_total", "counter", "What it refused as a relay.", &one(refused));
    out
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;
    use crate::reach::Nat;

    #[test]
    fn every_family_has_help_a_type_and_samples() {
        let peer = |address: &str, inbound, relayed| Peer {
            id: PeerId::random(),
            address: address.parse().unwrap(),
            inbound,
            relayed,
            agent: None,
            is_full: false,
            round_trip: None,
        };
        let quic = "/ip4/192.0.2.1/udp/1/quic-v1";
        let figures = Figures {
            counted: Counted { bans: 3, ..Counted::default() },
            peers: vec![peer(quic, true, false), peer(quic, true, false), peer("/ip4/192.0.2.1/tcp/1", false, true)],
            banned: 1,
            routing: 7,
            nodes: 99,
            announcing: 10,
            unannounced: 4,
            records: (5, 6),
            reached: Reachability {
                standing: Standing::Relayed,
                addresses: Vec::new(),
                nat: (Nat::Unknown, Nat::Unknown),
                testers: 0,
                places: Vec::new(),
                relays: Vec::new(),
                refused: Vec::new(),
                punched: (1, 2),
                relaying: (0, 0),
            },
        };
        let text = text(&figures, 11, 12, [3, 2, 1]);
        for line in [
            "fondaco_swarm_connections{direction=\"inbound\",transport=\"quic\",relayed=\"false\"} 2",
            "fondaco_swarm_connections{direction=\"outbound\",transport=\"tcp\",relayed=\"true\"} 1",
            "fondaco_swarm_sent_bytes_total 11",
            "fondaco_swarm_fetches_total{state=\"failed\"} 1",
            "fondaco_swarm_bans_total 3",
            "fondaco_swarm_announce_queue 4",
            "fondaco_swarm_reached{how=\"relayed\"} 1",
            "fondaco_swarm_holes_total{outcome=\"punched\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        let names = |begin: &str| text.lines().filter(|l| l.starts_with(begin)).count();
        assert_eq!(names("# HELP"), names("# TYPE"));
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
        }
    }
}
