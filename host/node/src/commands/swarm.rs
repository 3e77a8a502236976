//! The swarm, as its operator sees it: who is there, and fetching what others have.

use crate::fail::Done;
use crate::node::Node;
use crate::out::Out;
use crate::{commands, named, swarm};

pub async fn peers(node: &Node, json: bool, out: &Out) -> Done {
    let net = node.net().await?;
    let status = net.status().await?;
    let texts = |all: &[fondaco_net::Multiaddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    out.result(
        json,
        || {
            serde_json::json!({
                "node": net.peer_id().to_string(), "listening": texts(&status.listening),
                "announced": texts(&status.announced), "announcing": status.announcing, "routing": status.routing,
                "peers": status.peers.len(), "sent-bytes": status.sent_bytes,
                "banned": status.banned.iter().map(|(peer, _)| peer.to_string()).collect::<Vec<_>>(),
            })
        },
        || {
            let place = if status.listening.is_empty() { "nowhere".into() } else { texts(&status.listening).join(" ") };
            format!(
                "this node is {}\n  listens: {place}\n  announces {} releases, knows {} nodes of the hash table, sent {} bytes",
                net.peer_id(), status.announcing, status.routing, status.sent_bytes
            )
        },
    );
    for peer in &status.peers {
        let ms = peer.round_trip.map(|time| time.as_secs_f64() * 1000.0);
        out.result(
            json,
            || {
                serde_json::json!({
                    "peer": peer.id.to_string(), "address": peer.address.to_string(), "inbound": peer.inbound,
                    "relayed": peer.relayed,
                    "agent": peer.agent, "round-trip-ms": ms,
                })
            },
            || {
                let way = if peer.inbound { "from" } else { "to" };
                let ms = ms.map(|ms| format!("  {ms:.1} ms")).unwrap_or_default();
                format!("{}  {way} {}{ms}  {}", peer.id, peer.address, peer.agent.as_deref().unwrap_or(""))
            },
        );
    }
    for (peer, left) in status.banned.iter().filter(|_| !json) {
        out.note(format!("banned: {peer}, for {} more minutes", left.as_secs() / 60));
    }
    Ok(())
}

/// Who shares a work: those that the hash table names, and those with whom it was exchanged since the node's start.
pub async fn sharers(node: &Node, work: &str, json: bool, out: &Out) -> Done {
    let net = node.net().await?;
    let work = commands::works::find_any(node, work).await?;
    let sharing = swarm::sharing(net, &work).await?;
    let page = node.market.desk_address(&format!("swarm/{}", sharing.release));
    out.result(
        json,
        || {
            serde_json::json!({
                "work": sharing.work, "release": sharing.release, "sharers": sharing.sharers.len(),
                "sent-bytes": sharing.sent_bytes, "received-bytes": sharing.received_bytes, "page": page,
            })
        },
        || format!("{}: {} nodes share it or did", sharing.title, sharing.sharers.len()),
    );
    for one in &sharing.sharers {
        out.result(
            json,
            || serde_json::to_value(one).unwrap_or_default(),
            || {
                let states =
                    [(one.this_node, "this node"), (one.announces, "announces it"), (one.connected, "connected")];
                let states: Vec<&str> = states.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
                let (sent, received) = (one.sent_bytes, one.received_bytes);
                format!("{}  sent {sent} bytes, received {received} bytes  {}", one.peer, states.join(", "))
            },
        );
    }
    if !json {
        out.note(format!("the same as a page, for an hour, while `fondaco up` runs: {page}"));
    }
    Ok(())
}

/// Fetches a work from elsewhere and keeps it, to give it to others.
pub async fn seed(node: &Node, work: &str, lazy: bool, json: bool, out: &Out) -> Done {
    let named = named::read(node, work).await?;
    let work = if lazy { swarm::note(node, &named).await? } else { swarm::fetch(node, &named, json, out).await? };
    let own = node.links().await.to(work.release_id);
    if lazy && node.market.is_coming(work.release_id) {
        out.result(
            json,
            || serde_json::json!({ "work": work.release.work, "release": work.release_id, "coming": true }),
            || {
                format!(
                    "{} is in the catalogue; each of its files comes when somebody first asks for it, or all with \
                     `fondaco seed` and the link",
                    work.release.title
                )
            },
        );
        return Ok(());
    }
    out.result(
        json,
        || serde_json::json!({ "work": work.release.work, "release": work.release_id, "link": own }),
        || format!("{} is here; as long as this node is up, others can have it from here", work.release.title),
    );
    Ok(())
}
