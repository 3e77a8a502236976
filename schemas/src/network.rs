//! `[network]` of the deployment file: whether a node is part of a swarm, and how. Addresses are libp2p multiaddresses;
//! here only their form is looked at, and `host/net` reads them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::{ReceiptRules, SearchRules};
use crate::problem::Table;
use crate::{ByteSize, PublicKey, Span};

/// Where a node's membership token lies, unless its operator says else.
pub const MEMBERSHIP_FILE: &str = "membership.token";
const DEFAULT_CACHE: ByteSize = ByteSize::mib(16 << 10);

/// How the node is part of the swarm. Off, unless the operator turns it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Is it part of the swarm at all?
    pub enabled: bool,
    /// Where it listens: `/ip4/0.0.0.0/udp/4001/quic-v1`, `/ip4/0.0.0.0/tcp/4001`. Empty: it fetches from others, and
    /// nobody can come to it.
    pub listen: Vec<NodeAddress>,
    /// Under which addresses others reach it, where those that it listens on are not reached from outside.
    pub announce: Vec<NodeAddress>,
    /// Nodes to begin with: addresses that end with `/p2p/` and the node's id.
    pub bootstrap: Vec<NodeAddress>,
    /// What it does for others.
    pub role: Role,
    /// Relays that are asked for a place while nobody reaches this node: addresses that end with `/p2p/` and the relay's
    /// id. Empty: those nodes of `bootstrap` that are relays.
    pub relays: Vec<NodeAddress>,
    /// What it does as a relay, with `role = "relay"`.
    pub relay: RelayLimits,
    /// Look for nodes in the local network, and be found there.
    pub mdns: bool,
    /// Ids of the only nodes that may connect; empty: all may. With `authority`, its members may besides.
    pub allow: Vec<NodeId>,
    /// The public key of a private network's authority: only nodes that show a membership token that it signed may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<PublicKey>,
    /// The file with this node's own membership token, taken from the deployment's folder.
    pub membership: String,
    /// Take bytes also from web seeds on this node's own network, and not only from the public Internet.
    #[serde(rename = "private-web-seeds")]
    pub private_web_seeds: bool,
    /// Disk for what visitors stream from the swarm and nobody keeps. The oldest of it goes when something new comes.
    pub cache: ByteSize,
    /// Ids of nodes that are trusted with what is searched for here, besides those of `allow` and `bootstrap`.
    pub trusted: Vec<NodeId>,
    /// Searches of and at other nodes.
    pub search: SearchRules,
    /// Receipts for what nodes delivered to each other.
    pub receipts: ReceiptRules,
    /// What other nodes may take up.
    pub limits: NetworkLimits,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: Vec::new(),
            announce: Vec::new(),
            bootstrap: Vec::new(),
            role: Role::Full,
            relays: Vec::new(),
            relay: RelayLimits::default(),
            mdns: false,
            allow: Vec::new(),
            authority: None,
            membership: MEMBERSHIP_FILE.to_owned(),
            private_web_seeds: false,
            cache: DEFAULT_CACHE,
            trusted: Vec::new(),
            search: SearchRules::default(),
            receipts: ReceiptRules::default(),
            limits: NetworkLimits::default(),
        }
    }
}

/// What a node does for others besides giving them what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It keeps nothing of the hash table: for nodes behind an address translation.
    Leaf,
    /// It keeps its part of the hash table, and tells others whether they are reached.
    Full,
    /// It also leads others to nodes that nobody reaches, within the limits of `[network.relay]`.
    Relay,
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "leaf" => Ok(Self::Leaf),
            "full" => Ok(Self::Full),
            "relay" => Ok(Self::Relay),
            _ => Err(format!("{text:?} is no role: write \"leaf\", \"full\" or \"relay\"")),
        }
    }
}

/// What other nodes may take up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkLimits {
    /// Open connections.
    pub connections: u32,
    /// Open connections of one IPv4 address or IPv6 /64; of an IPv4 /24 or IPv6 /48 four times as many.
    pub connections_per_address: u32,
    /// The node's memory, above which it takes no new connection.
    pub memory: ByteSize,
    /// Answers that are sent at once.
    pub uploads: u32,
    /// Streams of one node.
    pub streams_per_peer: u32,
    /// Bytes that are sent in a second, to all together; absent: as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_rate: Option<ByteSize>,
    /// Other rates for times of the day; the first that holds counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<ScheduledRate>,
}

/// A rate for a time of the day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ScheduledRate {
    /// From when it holds, in UTC.
    pub from: DayTime,
    /// Until when; before `from`: over midnight.
    pub to: DayTime,
    /// Bytes that are sent in a second, to all together; absent: as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_rate: Option<ByteSize>,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            connections: 600,
            connections_per_address: 8,
            memory: ByteSize::mib(1024),
            uploads: 16,
            streams_per_peer: 8,
            upload_rate: None,
            schedule: Vec::new(),
        }
    }
}

/// What a relay does for others. What is large goes directly from node to node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RelayLimits {
    /// Nodes that have a place.
    pub reservations: u32,
    /// Connections that are led on at once; of one node two.
    pub circuits: u32,
    /// Bytes of such a connection, both ways together.
    pub circuit_bytes: ByteSize,
    /// How long it lasts.
    pub circuit_time: Span,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { reservations: 64, circuits: 16, circuit_bytes: ByteSize::mib(2), circuit_time: Span::secs(120) }
    }
}

impl RelayLimits {
    fn read(t: &mut Table<'_>) -> Self {
        let default = Self::default();
        Self {
            reservations: t.number("reservations").unwrap_or(default.reservations),
            circuits: t.number("circuits").unwrap_or(default.circuits),
            circuit_bytes: t.optional("circuit-bytes").unwrap_or(default.circuit_bytes),
            circuit_time: t.optional("circuit-time").unwrap_or(default.circuit_time),
        }
    }
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let is_good: fn(&str) -> bool = $check;
                if is_good(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(format!("{:?} is {}", text.chars().take(120).collect::<String>(), $why))
                }
            }
        }
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// Where a node is: a multiaddress with a host and a TCP or QUIC port.
    NodeAddress,
    |t| {
        let host = ["/ip4/", "/ip6/", "/dns/", "/dns4/", "/dns6/"].iter().any(|p| t.starts_with(p));
        let port = t.contains("/tcp/") || (t.contains("/udp/") && t.contains("/quic-v1"));
        host && port && t.len() <= 512 && t.bytes().all(|b| b.is_ascii_graphic())
    },
    "no address of a node: write it as \"/ip4/192.0.2.1/udp/4001/quic-v1\" or \"/ip4/192.0.2.1/tcp/4001\""
);
checked_text!(
    /// The id of a node in the swarm, which follows from its public key.
    NodeId,
    |t| t.len() == 52 && t.starts_with("12D3Koo") && t.bytes().all(|b| b.is_ascii_alphanumeric()),
    "no node's id: it has 52 characters and begins with 12D3Koo; `fondaco peers` shows a node's own"
);

checked_text!(
    /// A time of the day, in UTC: `08:00`.
    DayTime,
    |t| minutes(t).is_some(),
    "no time of the day: write it as \"08:00\""
);

impl DayTime {
    /// Minutes after midnight.
    pub fn minutes(&self) -> u16 {
        minutes(self.as_str()).unwrap_or(0)
    }
}

fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |part: &str, below: u16| {
        let is_plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|n: &u16| is_plain && *n < below)
    };
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}

impl Network {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let authority = t.optional("authority");
        if t.has_known("membership") && !t.has("authority") {
            t.problem(
                "membership",
                "a membership token is for a private network: write its authority = \"<public key>\", too",
            );
        }
        let membership = if t.has("membership") { t.text("membership") } else { None };
        Self {
            enabled: t.flag("enabled").unwrap_or(false),
            listen: t.list("listen"),
            announce: t.list("announce"),
            bootstrap: t.list("bootstrap"),
            role: t.optional("role").unwrap_or(Role::Full),
            relays: t.list("relays"),
            relay: t.table("relay", RelayLimits::read).unwrap_or_default(),
            mdns: t.flag("mdns").unwrap_or(false),
            allow: t.list("allow"),
            authority,
            membership: membership.unwrap_or_else(|| MEMBERSHIP_FILE.to_owned()),
            private_web_seeds: t.flag("private-web-seeds").unwrap_or(false),
            cache: t.optional("cache").unwrap_or(DEFAULT_CACHE),
            trusted: t.list("trusted"),
            search: t.table("search", SearchRules::read).unwrap_or_default(),
            receipts: t.table("receipts", ReceiptRules::read).unwrap_or_default(),
            limits: t.table("limits", NetworkLimits::read).unwrap_or_default(),
        }
    }
}

impl NetworkLimits {
    fn read(t: &mut Table<'_>) -> Self {
        let default = Self::default();
        Self {
            connections: t.number("connections").unwrap_or(default.connections),
            connections_per_address: t.number("connections-per-address").unwrap_or(default.connections_per_address),
            memory: t.optional("memory").unwrap_or(default.memory),
            uploads: t.number("uploads").unwrap_or(default.uploads),
            streams_per_peer: t.number("streams-per-peer").unwrap_or(default.streams_per_peer),
            upload_rate: t.optional("upload-rate"),
            schedule: t.tables("schedule", |t| {
                let (from, to): (Option<DayTime>, Option<DayTime>) = (t.required("from"), t.required("to"));
                let upload_rate = t.optional("upload-rate");
                let (from, to) = (from?, to?);
                if from == to {
                    t.problem("to", "a time of the day ends when it begins: write a later \"to\"");
                }
                Some(ScheduledRate { from, to, upload_rate })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Deployment;

    #[test]
    fn a_node_is_alone_until_its_operator_says_else() {
        let file = Deployment::parse("[brand]\nname = \"Night Owl\"\n").unwrap();
        assert!(!file.network.enabled && file.network.listen.is_empty() && !file.network.mdns);
        let file =
            Deployment::parse("[brand]\nname = \"Night Owl\"\n[network]\nenabled = true\nrole = \"leaf\"\n").unwrap();
        assert_eq!((file.network.enabled, file.network.role), (true, Role::Leaf));
    }

    #[test]
    fn a_private_network_has_an_authority_and_its_members_a_token() {
        let with = |more: &str| Deployment::parse(&format!("[brand]\nname = \"x\"\n[network]\n{more}"));
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let file = with(&format!("authority = \"{key}\"\n")).unwrap();
        assert_eq!(file.network.authority.map(|k| k.to_string()).as_deref(), Some(key));
        assert_eq!(file.network.membership, MEMBERSHIP_FILE);
        let file = with(&format!("authority = \"{key}\"\nmembership = \"keys/mine\"\n")).unwrap();
        assert_eq!(file.network.membership, "keys/mine");
        assert_eq!(with("").unwrap().network.authority, None);
        for (bad, words) in [
            ("authority = \"me\"\n".to_owned(), "network.authority"),
            ("membership = \"mine\"\n".to_owned(), "write its authority = "),
            (format!("authority = \"{key}\"\nmembership = \" \"\n"), "must not be empty"),
        ] {
            let refused = with(&bad).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn rates_follow_the_time_of_the_day() {
        let with =
            |more: &str| Deployment::parse(&format!("[brand]\nname = \"x\"\n[[network.limits.schedule]]\n{more}"));
        let file = with("from = \"22:30\"\nto = \"06:00\"\nupload-rate = \"1MiB\"\n").unwrap();
        let [timed] = file.network.limits.schedule.as_slice() else { panic!("{file:?}") };
        assert_eq!((timed.from.minutes(), timed.to.minutes()), (22 * 60 + 30, 6 * 60));
        assert_eq!(timed.upload_rate, Some(ByteSize::mib(1)));
        for (bad, words) in [
            ("from = \"8:00\"\nto = \"24:00\"\n", "\"24:00\" is no time of the day"),
            ("from = \"08:00\"\nto = \"20\"\n", "\"20\" is no time of the day"),
            ("from = \"08:00\"\n", "to"),
            ("from = \"08:00\"\nto = \"08:00\"\n", "a later \"to\""),
        ] {
            let refused = with(bad).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn what_is_no_address_role_or_id_is_named() {
        let text = "[brand]\nname = \"x\"\n[network]\nlisten = [\"0.0.0.0:4001\"]\nrole = \"hub\"\nallow = [\"me\"]\n";
        let refused = Deployment::parse(text).unwrap_err().to_string();
        for words in ["\"0.0.0.0:4001\" is no address", "\"hub\" is no role", "\"me\" is no node's id"] {
            assert!(refused.contains(words), "{refused}");
        }
    }
}
