//! What the commands do. Those in [`run`] need the node's data, and are carried out by whoever holds it.

mod audit;
mod channels;
mod check;
mod doctor;
mod find;
mod init;
mod keys;
mod membership;
mod offers;
mod open;
mod plugin;
mod registry;
mod swarm;
mod up;
mod works;

use crate::cli::{Network, NodeCommand};
use crate::fail::Done;
use crate::node::Node;
use crate::out::Out;

pub use check::check;
pub use init::init;
pub use keys::{key, trust};
pub use membership::{invite, join};
pub use offers::ask;
pub use open::open;
pub use plugin::{absolute, consent, verify_offline};
pub use registry::{Registry, registry};
pub use up::up;

/// Carries out a command on the node's data.
pub async fn run(node: &Node, command: NodeCommand, json: bool, out: &Out) -> Done {
    match command {
        NodeCommand::Publish(args) => works::publish(node, args, json, out).await,
        NodeCommand::Unpublish { work } => works::unpublish(node, &work, json, out).await,
        NodeCommand::Works => works::list(node, json, out).await,
        NodeCommand::Search(args) => works::search(node, args, json, out).await,
        NodeCommand::Get(args) => works::get(node, args, json, out).await,
        NodeCommand::Seed { work, lazy } => swarm::seed(node, &work, lazy, json, out).await,
        NodeCommand::Channel => channels::channel(node, json, out).await,
        NodeCommand::Follow(args) => channels::follow(node, &args, json, out).await,
        NodeCommand::Unfollow { channel } => channels::unfollow(node, &channel, json, out).await,
        NodeCommand::Mirror(args) => channels::mirror(node, &args, json, out).await,
        NodeCommand::Peers { work: None } => swarm::peers(node, json, out).await,
        NodeCommand::Peers { work: Some(work) } => swarm::sharers(node, &work, json, out).await,
        NodeCommand::Net(Network::Doctor { wait }) => doctor::doctor(node, wait.duration(), json, out).await,
        NodeCommand::Net(Network::Invite(args)) => invite(&args, json, out),
        NodeCommand::Net(Network::Join { token }) => join(&node.folder, &token, json, out),
        NodeCommand::Receipts { limit } => crate::receipts::show(node, limit, json, out).await,
        NodeCommand::Orders { limit } => works::orders(node, limit, json, out).await,
        NodeCommand::Plugin(args) => plugin::run(node, args, json, out).await,
        NodeCommand::Status => check::status(node, json, out).await,
        NodeCommand::Gc { grace_hours } => check::gc(node, grace_hours, json, out).await,
        NodeCommand::DeepCheck => check::deep(node, json, out).await,
    }
}
