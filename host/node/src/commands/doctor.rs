//! `fondaco net doctor`: whether others reach this node, how, and what to do where they do not. It works on a running node,
//! and by itself: then the node listens for as long as the examination lasts.

use std::time::{Duration, Instant};

use fondaco_net::{Nat, Net, Reachability, Skew, Standing, Status, Tested};
use fondaco_schemas::Deployment;
use fondaco_trust::membership::when;
use serde::Serialize;

use crate::fail::{Done, Fail};
use crate::membership;
use crate::node::Node;
use crate::out::Out;

/// How often it is looked whether everything is known.
const LOOK: Duration = Duration::from_millis(250);
/// A clock this far from those of others makes signatures and sessions look too old, or not yet good.
const MOST_SKEW: Duration = Duration::from_secs(30);

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Grade {
    /// As it should be.
    Good,
    /// It works, and could work better.
    Hint,
    /// It does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    what: &'static str,
    grade: Grade,
    /// What is so.
    found: String,
    /// What to do about it, with the line of fondaco.toml where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// What was measured.
struct Examined {
    status: Status,
    reached: Reachability,
    skew: Option<Skew>,
}

/// Examines the node. Ends with exit code 1 where something does not work.
pub async fn doctor(node: &Node, patience: Duration, json: bool, out: &Out) -> Done {
    if !node.deployment.network.enabled {
        return Err(Fail::unavailable(
            "this node is not part of a swarm: write enabled = true under [network] in fondaco.toml, and say there where \
             it listens",
        ));
    }
    let membership = membership(node);
    if membership.as_ref().is_some_and(|found| found.grade == Grade::Bad) && node.swarm.get().is_none() {
        // Without it the node does not become part of the swarm, and nothing else can be looked at.
        return tell(membership.as_slice(), json, out);
    }
    let examined = if let Some(net) = node.swarm.get() {
        examine(net, patience).await?
    } else {
        let net = node.start_swarm(true).await?;
        let examined = examine(&net, patience).await;
        net.stop().await;
        examined?
    };
    let findings: Vec<Finding> = membership.into_iter().chain(findings(&node.deployment, &examined)).collect();
    tell(&findings, json, out)
}

fn tell(findings: &[Finding], json: bool, out: &Out) -> Done {
    for finding in findings {
        out.result(
            json,
            || serde_json::to_value(finding).unwrap_or_default(),
            || {
                let grade = match finding.grade {
                    Grade::Good => "good",
                    Grade::Hint => "hint",
                    Grade::Bad => "BAD ",
                };
                let advice = finding.advice.as_deref().map(|a| format!("\n        -> {a}")).unwrap_or_default();
                format!("{grade}  {}: {}{advice}", finding.what, finding.found)
            },
        );
    }
    match findings.iter().filter(|finding| finding.grade == Grade::Bad).count() {
        0 => Ok(()),
        1 => Err(Fail::failed("one thing does not work; it is said above what to do")),
        n => Err(Fail::failed(format!("{n} things do not work; it is said above what to do"))),
    }
}

/// The membership of a private network, where there is one.
fn membership(node: &Node) -> Option<Finding> {
    let what = "membership";
    match membership::own(&node.folder, &node.deployment) {
        Ok(own) => own.map(|own| {
            let left = own.not_after().saturating_sub(membership::now()) / (24 * 3600);
            let name = own.name().map(|name| format!("as {name:?} ")).unwrap_or_default();
            let found = format!("a member {name}until {}, for {left} more days", when(own.not_after()));
            let soon = left < membership::SOON_DAYS;
            let advice = "have whoever keeps the key of authority = \"…\" sign another token (`fondaco net invite`), put it in \
                          place (`fondaco net join`) and restart the node";
            finding(what, if soon { Grade::Hint } else { Grade::Good }, found, soon.then_some(advice))
        }),
        Err(fail) => {
            let (why, advice) = fail.text.split_once("; ").unwrap_or((&fail.text, "see `fondaco check`"));
            Some(finding(what, Grade::Bad, why, Some(advice)))
        }
    }
}

/// Waits until it is known how the node is reached, at most for so long.
async fn examine(net: &Net, patience: Duration) -> Done<Examined> {
    let until = Instant::now() + patience;
    let reached = loop {
        let reached = net.reachability().await?;
        let tested = |tried: &fondaco_net::Tried| tried.tested != Tested::Not || is_local(&tried.address);
        let known = match reached.standing {
            Standing::Unknown => false,
            // A place at a relay comes some seconds after the failure.
            Standing::Unreached => reached.relays.is_empty() || !reached.refused.is_empty(),
            Standing::Direct | Standing::Relayed => reached.testers == 0 || reached.addresses.iter().all(tested),
        };
        if known || Instant::now() >= until {
            break reached;
        }
        tokio::time::sleep(LOOK).await;
    };
    Ok(Examined { status: net.status().await?, reached, skew: net.skew().await? })
}

/// Whether an address is one that nobody outside could reach anyway.
fn is_local(address: &fondaco_net::Multiaddr) -> bool {
    let text = address.to_string();
    let local = ["/ip4/127.", "/ip4/10.", "/ip4/192.168.", "/ip4/169.254.", "/ip6/::1/", "/ip6/fe80", "/ip6/fd"];
    local.iter().any(|begin| text.starts_with(begin))
        || (16..32).any(|n| text.starts_with(&format!("/ip4/172.{n}.")))
        || text.contains("/p2p-circuit")
}

/// All findings, in the order in which they matter.
fn findings(deployment: &Deployment, examined: &Examined) -> Vec<Finding> {
    let mut all = vec![peers(deployment, examined), standing(deployment, examined)];
    all.extend(addresses(examined));
    all.push(nat(examined));
    all.extend(relays(deployment, examined));
    all.push(ports(deployment));
    all.push(mdns(deployment));
    all.push(table(deployment, examined));
    all.push(clock(examined));
    all
}

fn finding(what: &'static str, grade: Grade, found: impl Into<String>, advice: Option<&str>) -> Finding {
    Finding { what, grade, found: found.into(), advice: advice.map(str::to_owned) }
}

fn peers(deployment: &Deployment, Examined { status, .. }: &Examined) -> Finding {
    let count = status.peers.len();
    if count > 0 {
        return finding("peers", Grade::Good, format!("{count} connections"), None);
    }
    let advice = if deployment.network.bootstrap.is_empty() && !deployment.network.mdns {
        "name a node to begin with: bootstrap = [\"/dns/node.example.org/udp/4001/quic-v1/p2p/12D3Koo…\"] under [network] in \
         fondaco.toml; a node shows its address with `fondaco peers`"
    } else {
        "see whether the nodes of bootstrap = […] under [network] in fondaco.toml run, and whether a firewall keeps this one \
         from dialling out (UDP for QUIC, TCP)"
    };
    finding("peers", Grade::Bad, "nobody is connected, so that nothing can be found and nothing tested", Some(advice))
}

fn standing(deployment: &Deployment, Examined { reached, .. }: &Examined) -> Finding {
    let what = "reached";
    match reached.standing {
        Standing::Direct => finding(what, Grade::Good, "others reach this node directly", None),
        Standing::Relayed => finding(
            what,
            Grade::Hint,
            "others reach this node through a relay, and then try to connect directly",
            Some(
                "that is enough to share. To be reached directly, forward the port on the router and write \
                 announce = [\"/ip4/<public address>/tcp/<port>\"] under [network] in fondaco.toml",
            ),
        ),
        Standing::Unreached | Standing::Unknown if deployment.network.listen.is_empty() => finding(
            what,
            Grade::Hint,
            "this node listens nowhere: it fetches from others, and nobody can fetch from it",
            Some(
                "to share, write listen = [\"/ip4/0.0.0.0/udp/4001/quic-v1\", \"/ip4/0.0.0.0/tcp/4001\"] under [network]",
            ),
        ),
        Standing::Unreached => finding(
            what,
            Grade::Bad,
            "nobody reaches this node, and no relay leads to it",
            Some(
                "forward the ports of listen on the router, or name a relay: \
                 relays = [\"/dns/relay.example.org/udp/4001/quic-v1/p2p/12D3Koo…\"] under [network] in fondaco.toml. After \
                 opening a port, restart the node: no address is tested twice",
            ),
        ),
        Standing::Unknown => finding(
            what,
            Grade::Hint,
            match reached.testers {
                0 => {
                    "it is not known whether others reach this node: no connected node tests that for others".to_owned()
                }
                n => format!("it is not known yet whether others reach this node; {n} connected nodes can test it"),
            },
            Some(
                "if it has a public address, write announce = [\"/ip4/<address>/tcp/<port>\"] under [network] in \
                 fondaco.toml; else connect to more nodes (bootstrap = […]) and ask again with --wait 60s",
            ),
        ),
    }
}

fn addresses(Examined { reached, .. }: &Examined) -> Vec<Finding> {
    let one = |tried: &fondaco_net::Tried| {
        let told = if tried.told { "others are told of it" } else { "others are not told of it" };
        let (grade, tested) = match &tried.tested {
            Tested::Reached => (Grade::Good, "a peer dialled it".to_owned()),
            Tested::Not => (Grade::Good, "not tested".to_owned()),
            Tested::Failed(why) => (Grade::Hint, format!("a peer could not dial it: {why}")),
        };
        finding("address", grade, format!("{}: {tested}; {told}", tried.address), None)
    };
    reached.addresses.iter().map(one).collect()
}

fn nat(Examined { reached, .. }: &Examined) -> Finding {
    let say = |nat: Nat| match nat {
        Nat::None => "none",
        Nat::EndpointIndependent => "one port for all peers (endpoint-independent)",
        Nat::EndpointDependent => "another port for each peer (endpoint-dependent)",
        Nat::Unknown => "not known: fewer than two peers said what they see",
    };
    let (tcp, udp) = reached.nat;
    let found = format!("TCP: {}; UDP: {}", say(tcp), say(udp));
    let direct = reached.standing == Standing::Direct;
    match (tcp, udp) {
        (_, Nat::EndpointDependent) if !direct => finding(
            "translation",
            Grade::Hint,
            found,
            Some(
                "holes cannot be punched through such a translation: what is large comes only where the other side is reached \
                 directly. Forward a port, or switch the router from \"symmetric\" to \"full cone\"",
            ),
        ),
        _ => finding("translation", Grade::Good, found, None),
    }
}

fn relays(deployment: &Deployment, Examined { reached, .. }: &Examined) -> Vec<Finding> {
    let mut all: Vec<Finding> = reached
        .places
        .iter()
        .filter(|place| place.kept)
        .map(|place| finding("relay", Grade::Good, format!("{} at {} keeps a place", place.relay, place.address), None))
        .collect();
    for (relay, why) in &reached.refused {
        let advice = "name another relay: relays = […] under [network] in fondaco.toml";
        all.push(finding("relay", Grade::Hint, format!("{relay} keeps no place: {why}"), Some(advice)));
    }
    if deployment.network.role == fondaco_schemas::network::Role::Relay {
        let (places, circuits) = reached.relaying;
        let found = format!("this node is a relay: it keeps {places} places and leads {circuits} connections");
        let told = reached.addresses.iter().any(|tried| tried.told);
        let advice = "a relay must be reached directly: write announce = [\"/ip4/<address>/udp/<port>/quic-v1\"] under \
                      [network] in fondaco.toml, or role = \"full\"";
        let (grade, advice) = if told { (Grade::Good, None) } else { (Grade::Bad, Some(advice)) };
        all.push(finding("relay", grade, found, advice));
    }
    let (punched, failed) = reached.punched;
    if punched + failed > 0 {
        let found = format!("{punched} holes punched, {failed} attempts failed");
        all.push(finding("holes", Grade::Good, found, None));
    }
    all
}

fn ports(deployment: &Deployment) -> Finding {
    let listen: Vec<&str> =
        deployment.network.listen.iter().map(fondaco_schemas::network::NodeAddress::as_str).collect();
    let (tcp, udp) = (listen.iter().any(|a| a.contains("/tcp/")), listen.iter().any(|a| a.contains("/udp/")));
    let advice = match (tcp, udp) {
        (true, true) | (false, false) => None,
        (true, false) => Some(
            "listen for QUIC, too: add \"/ip4/0.0.0.0/udp/4001/quic-v1\" to listen = […] under [network]; holes are punched \
             more surely through UDP",
        ),
        (false, true) => Some(
            "listen for TCP, too: add \"/ip4/0.0.0.0/tcp/4001\" to listen = […] under [network]; some networks let no UDP \
             through",
        ),
    };
    let random = listen.iter().any(|a| a.contains("/tcp/0") || a.contains("/udp/0"));
    let advice = advice.or(random.then_some(
        "port 0 is another port after each start: write one that stays, so that links and forwarded ports hold",
    ));
    let found = if listen.is_empty() { "none".to_owned() } else { listen.join(" ") };
    finding("ports", if advice.is_some() { Grade::Hint } else { Grade::Good }, found, advice)
}

fn mdns(deployment: &Deployment) -> Finding {
    let found = if deployment.network.mdns { "on" } else { "off" };
    let text = format!("the search of the local network (mDNS) is {found}");
    finding("local network", Grade::Good, text, None)
}

fn table(deployment: &Deployment, Examined { status, reached, .. }: &Examined) -> Finding {
    let found = format!(
        "{} nodes in this one's table, about {} in all; {} releases announced, {} still to be told",
        status.routing, status.nodes, status.announcing, status.unannounced
    );
    let leads = deployment.network.role != fondaco_schemas::network::Role::Leaf;
    if status.routing == 0 && !status.peers.is_empty() {
        let advice = "none of the connected nodes keeps the table; name one with role = \"full\" in bootstrap = […]";
        return finding("hash table", Grade::Hint, found, Some(advice));
    }
    if leads && reached.standing == Standing::Unreached {
        let advice = "nobody reaches this node: write role = \"leaf\" under [network] in fondaco.toml";
        return finding("hash table", Grade::Hint, found, Some(advice));
    }
    finding("hash table", Grade::Good, found, None)
}

fn clock(Examined { skew, .. }: &Examined) -> Finding {
    let Some(Skew { ahead_ms, peers }) = skew else {
        return finding("clock", Grade::Good, "no peer said what time it is", None);
    };
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let seconds = *ahead_ms as f64 / 1000.0;
    let found = format!("{seconds:+.1} s from the middle one of {peers} peers");
    if u128::from(ahead_ms.unsigned_abs()) > MOST_SKEW.as_millis() {
        let advice = "set the clock (timedatectl set-ntp true): with a wrong one, rights and registries look expired";
        return finding("clock", Grade::Bad, found, Some(advice));
    }
    finding("clock", Grade::Good, found, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(standing: Standing) -> Examined {
        let reached = Reachability {
            standing,
            addresses: Vec::new(),
            nat: (Nat::Unknown, Nat::EndpointDependent),
            testers: 1,
            places: Vec::new(),
            relays: Vec::new(),
            refused: Vec::new(),
            punched: (0, 0),
            relaying: (0, 0),
        };
        Examined { status: Status::default(), reached, skew: Some(Skew { ahead_ms: 90_000, peers: 3 }) }
    }

    fn all(network: &str, standing: Standing) -> Vec<Finding> {
        let text = format!("[brand]\nname = \"x\"\n[network]\nenabled = true\n{network}");
        findings(&Deployment::parse(&text).unwrap(), &examined(standing))
    }

    #[test]
    fn whatever_does_not_work_has_an_advice_with_the_line_to_change() {
        for standing in [Standing::Direct, Standing::Relayed, Standing::Unreached, Standing::Unknown] {
            for network in ["", "listen = [\"/ip4/0.0.0.0/tcp/0\"]\n", "role = \"relay\"\n", "role = \"leaf\"\n"] {
                for finding in all(network, standing) {
                    let text = format!("{finding:?}");
                    assert_eq!(finding.grade == Grade::Good, finding.advice.is_none(), "{text}");
                    assert!(!text.contains("  ") && !text.contains('\t'), "{text}");
                    let names = |advice: &String| {
                        advice.contains(" = ") || ["clock", "ports", "translation"].contains(&finding.what)
                    };
                    assert!(finding.advice.as_ref().is_none_or(names), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_wrong_clock_no_peers_and_an_unreached_relay_are_bad() {
        let bad = |network: &str, standing| {
            let all = all(network, standing).into_iter().filter(|f| f.grade == Grade::Bad);
            all.map(|f| f.what).collect::<Vec<_>>()
        };
        assert_eq!(bad("", Standing::Direct), ["peers", "clock"]);
        assert_eq!(bad("role = \"relay\"\n", Standing::Direct), ["peers", "relay", "clock"]);
        let listens = "listen = [\"/ip4/0.0.0.0/tcp/4001\"]\n";
        assert_eq!(bad(listens, Standing::Unreached), ["peers", "reached", "clock"]);
    }
}
