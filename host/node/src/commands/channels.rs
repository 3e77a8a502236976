//! Channels, as operators see them: this node's own, those that it follows, and those whose works it keeps.

use fondaco_schemas::{ChannelLink, Link, PublicKey};

use crate::channels::{Followed, Mirror};
use crate::cli::{Follow, MirrorArgs};
use crate::fail::{Done, Fail};
use crate::following::{self, KeptUp};
use crate::mirroring;
use crate::node::Node;
use crate::out::Out;

fn read(text: &str) -> Done<ChannelLink> {
    text.parse().map_err(|e: fondaco_schemas::link::LinkError| {
        Fail::usage(format!("{e}; `fondaco channel` prints the link of a node's own"))
    })
}

/// This node's own channel.
pub async fn channel(node: &Node, json: bool, out: &Out) -> Done {
    let channel = node.market.publisher();
    let sequence = node.market.ledger().channel_sequence(channel).await?;
    let addresses: Vec<String> = match node.swarm.get() {
        Some(net) => net.addresses().await?.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    };
    let is_reachable = !addresses.is_empty();
    let link = ChannelLink { channel, addresses };
    out.result(
        json,
        || serde_json::json!({ "channel": channel, "sequence": sequence, "link": link.to_string() }),
        || format!("{link}\n  {sequence} changes so far; others follow it with `fondaco follow <link>`"),
    );
    if !is_reachable && !json {
        out.note("the link names no address: this node is not up, or is part of no swarm ([network] in fondaco.toml)");
    }
    Ok(())
}

/// Follows a channel, or lists those that are followed.
pub async fn follow(node: &Node, args: &Follow, json: bool, out: &Out) -> Done {
    let Some(text) = args.channel.as_ref().filter(|_| !args.list) else { return list(node, json, out).await };
    let link = read(text)?;
    if link.channel == node.market.publisher() {
        return Err(Fail::usage("this is this node's own channel; it need not be followed"));
    }
    for address in &link.addresses {
        fondaco_net::Config::peer_address(address)?;
    }
    let net = node.net().await?.clone();
    start(node, &link, None)?;
    let done = following::keep_up(node, &net, link.channel, Vec::new()).await?;
    tell(node, link.channel, done, json, out);
    Ok(())
}

/// Puts a channel on the list, with the new addresses first; `mirror` replaces what was said of it before.
fn start(node: &Node, link: &ChannelLink, mirror: Option<Mirror>) -> Done {
    node.channels.edit(|all| {
        match all.iter_mut().find(|f| f.channel == link.channel) {
            Some(known) => {
                let mut addresses = link.addresses.clone();
                addresses.extend(known.addresses.iter().filter(|a| !link.addresses.contains(a)).cloned());
                addresses.truncate(fondaco_schemas::link::MAX_ADDRESSES);
                known.addresses = addresses;
                if mirror.is_some() {
                    known.mirror = mirror;
                }
            }
            None => all.push(Followed { channel: link.channel, addresses: link.addresses.clone(), mirror }),
        }
        Ok(())
    })
}

fn tell(node: &Node, channel: PublicKey, done: KeptUp, json: bool, out: &Out) {
    let problem = node.channels.doing(&channel).problem;
    out.result(
        json,
        || {
            serde_json::json!({
                "channel": channel, "new": done.new, "withdrawn": done.withdrawn, "reached": done.reached,
                "problem": problem,
            })
        },
        || format!("following {channel}: {} works came, {} were withdrawn", done.new, done.withdrawn),
    );
    if let Some(problem) = problem.filter(|_| !json) {
        out.note(format!("it is followed, but {problem}"));
    }
}

/// Follows a channel no longer. Its works stay in the catalogue, without what a mirror kept.
pub async fn unfollow(node: &Node, text: &str, json: bool, out: &Out) -> Done {
    let channel = read(text)?.channel;
    let Some(followed) = node.channels.get(&channel) else { return Err(not_followed(&channel)) };
    let turn = node.channels.turn(channel);
    let _turn = turn.lock().await;
    node.channels.edit(|all| {
        all.retain(|f| f.channel != channel);
        Ok(())
    })?;
    let_go(node, &followed).await?;
    node.channels.forget(&channel);
    following::begin_anew(node, &channel).await?;
    out.result(
        json,
        || serde_json::json!({ "channel": channel, "followed": false }),
        || format!("{channel} is followed no longer; the works that came from it stay in the catalogue"),
    );
    Ok(())
}

fn not_followed(channel: &PublicKey) -> Fail {
    Fail::not_found(format!("the channel {channel} is not followed; `fondaco follow --list` lists those that are"))
}

/// Lets go what a mirror brought.
async fn let_go(node: &Node, followed: &Followed) -> Done<usize> {
    let mirrored = node.channels.mirrored(&followed.channel);
    for release in &mirrored {
        node.market.let_go(&Link { addresses: followed.addresses.clone(), ..Link::to(*release) }).await?;
    }
    node.channels.edit_mirrored(&followed.channel, std::collections::BTreeSet::clear).map_err(Fail::failed)?;
    Ok(mirrored.len())
}

async fn list(node: &Node, json: bool, out: &Out) -> Done {
    let followed = node.channels.list();
    for one in &followed {
        let doing = node.channels.doing(&one.channel);
        let known = following::known(node, &one.channel).await?;
        let link = ChannelLink { channel: one.channel, addresses: one.addresses.clone() };
        out.result(
            json,
            || {
                serde_json::json!({
                    "channel": one.channel, "link": link.to_string(), "known": known,
                    "announced": doing.announced.max(known), "mirrored": one.mirror.is_some(), "problem": doing.problem,
                })
            },
            || {
                let mirror = if one.mirror.is_some() { "  mirrored" } else { "" };
                let problem = doing.problem.as_ref().map(|p| format!("\n  {p}")).unwrap_or_default();
                format!("{link}\n  known up to change {known}{mirror}{problem}")
            },
        );
    }
    if followed.is_empty() && !json {
        out.note("no channel is followed; `fondaco follow <link>` begins with one");
    }
    Ok(())
}

/// Keeps the works of a channel here, shows what is kept, or ends it.
pub async fn mirror(node: &Node, args: &MirrorArgs, json: bool, out: &Out) -> Done {
    let Some(text) = args.channel.as_ref().filter(|_| !args.list) else { return list_mirrors(node, json, out).await };
    let link = read(text)?;
    if args.remove {
        return remove(node, link.channel, json, out).await;
    }
    if link.channel == node.market.publisher() {
        return Err(Fail::usage("this is this node's own channel; all its works are here"));
    }
    for address in &link.addresses {
        fondaco_net::Config::peer_address(address)?;
    }
    let net = node.net().await?.clone();
    let quota = args.quota.map(fondaco_schemas::ByteSize::get);
    let mirror = Mirror { tags: args.tags.clone(), kinds: args.kinds.clone(), quota };
    start(node, &link, Some(mirror))?;
    let done = following::keep_up(node, &net, link.channel, Vec::new()).await?;
    tell(node, link.channel, done, json, out);
    let Some(followed) = node.channels.get(&link.channel) else { return Ok(()) };
    let (here, wanted) = mirroring::holds(node, &followed).await?;
    out.result(
        json,
        || serde_json::json!({ "channel": link.channel, "here": here, "wanted": wanted }),
        || format!("{here} of {wanted} works are here; the rest comes while `fondaco up` runs"),
    );
    Ok(())
}

async fn remove(node: &Node, channel: PublicKey, json: bool, out: &Out) -> Done {
    let followed = node.channels.get(&channel).filter(|f| f.mirror.is_some());
    let Some(followed) = followed else {
        return Err(Fail::not_found(format!(
            "the channel {channel} is not mirrored; `fondaco mirror --list` lists those that are"
        )));
    };
    let turn = node.channels.turn(channel);
    let _turn = turn.lock().await;
    node.channels.edit(|all| {
        all.iter_mut().filter(|f| f.channel == channel).for_each(|f| f.mirror = None);
        Ok(())
    })?;
    let gone = let_go(node, &followed).await?;
    out.result(
        json,
        || serde_json::json!({ "channel": channel, "mirrored": false, "let-go": gone }),
        || format!("{channel} is mirrored no longer; {gone} works are let go, and it is still followed"),
    );
    Ok(())
}

async fn list_mirrors(node: &Node, json: bool, out: &Out) -> Done {
    let mut any = false;
    for one in node.channels.list() {
        let Some(mirror) = &one.mirror else { continue };
        any = true;
        let (here, wanted) = mirroring::holds(node, &one).await?;
        out.result(
            json,
            || {
                serde_json::json!({
                    "channel": one.channel, "here": here, "wanted": wanted, "tags": mirror.tags, "kinds": mirror.kinds,
                    "quota": mirror.quota, "problem": node.channels.doing(&one.channel).problem,
                })
            },
            || {
                let mut which: Vec<String> = mirror.tags.iter().map(|tag| format!("tag {tag}")).collect();
                which.extend(mirror.kinds.iter().map(|kind| kind.as_str().to_owned()));
                which.extend(mirror.quota.map(|bytes| format!("at most {bytes} bytes")));
                let which = if which.is_empty() { "everything".into() } else { which.join(", ") };
                format!("{}: {which}; {here} of {wanted} works are here", one.channel)
            },
        );
    }
    if !any && !json {
        out.note("nothing is mirrored; `fondaco mirror <link>` begins with a channel");
    }
    Ok(())
}
