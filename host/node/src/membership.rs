//! This node's membership of a private network: the file with its token, and the sentence for an operator whose node has none
//! that holds.

use std::time::SystemTime;

use fondaco_net::Membership;
use fondaco_schemas::{Deployment, PublicKey};
use fondaco_trust::membership::from_text;

use crate::fail::{Done, Fail};
use crate::folder::{Folder, read_text};
use crate::node::load_key;

/// How long before its end an operator is reminded.
pub const SOON_DAYS: u64 = 14;

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// What this node shows to others; none where its network has no authority.
pub fn own(folder: &Folder, deployment: &Deployment) -> Done<Option<Membership>> {
    let Some(authority) = deployment.network.authority else { return Ok(None) };
    let me = load_key(&folder.node_key(deployment))?.public();
    let file = folder.path().join(&deployment.network.membership);
    let text = match read_text(&file) {
        Ok(text) => text,
        Err(fail) if fail.code == 4 => return Err(none(me, &format!("there is no {}", file.display()))),
        Err(fail) => return Err(fail),
    };
    held(authority, &text, me).map(Some)
}

/// Checks the text of a token for the node with the key `me`.
pub fn held(authority: PublicKey, text: &str, me: PublicKey) -> Done<Membership> {
    let token = from_text(text).map_err(|error| none(me, &error))?;
    Membership::new(authority, token, &me, now()).map_err(|error| none(me, &error))
}

/// What is wrong, and what to do about it.
fn none(me: PublicKey, why: &dyn std::fmt::Display) -> Fail {
    let me = fondaco_net::peer_id(&me).map_or_else(|_| me.to_string(), |id| id.to_string());
    Fail::refused(format!(
        "this node is no member of the private network that fondaco.toml names ([network] authority): {why}; have whoever keeps \
         the network's key run `fondaco net invite {me} --key <key file>`, and put the token that it prints in place with \
         `fondaco net join <token>`"
    ))
}
