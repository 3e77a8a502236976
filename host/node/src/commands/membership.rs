//! `fondaco net invite` and `fondaco net join`: tokens of a private network, made by whoever keeps its key, and put in place
//! by whoever keeps a node. Both work beside a running node.

use fondaco_net::PeerId;
use fondaco_schemas::PublicKey;
use fondaco_trust::membership::{from_text, sign_membership, signer_of, to_text, when};

use crate::cli::Invite;
use crate::fail::{Done, Fail};
use crate::folder::{Folder, read_text, replace};
use crate::membership::{held, now};
use crate::node::load_key;
use crate::out::Out;

/// Signs a token.
pub fn invite(args: &Invite, json: bool, out: &Out) -> Done {
    let member = member(&args.node)?;
    let id = fondaco_net::peer_id(&member).map_err(Fail::usage)?;
    let authority = load_key(&args.key)?;
    let until = now().saturating_add(u64::from(args.days) * 24 * 3600);
    let token = to_text(&sign_membership(&authority, member, until, args.name.clone()).map_err(Fail::usage)?);
    if let Some(file) = &args.out {
        replace(file, format!("{token}\n").as_bytes(), 0o644)?;
    }
    let authority = authority.public();
    if !json {
        out.note(format!(
            "{id} may join the network of {authority} until {}; on that node: authority = \"{authority}\" under [network] in \
             fondaco.toml, and `fondaco net join <token>`",
            when(until)
        ));
    }
    out.result(
        json,
        || {
            serde_json::json!({
                "token": token, "node": id.to_string(), "authority": authority, "name": args.name, "until": when(until),
            })
        },
        || args.out.as_ref().map_or_else(|| token.clone(), |file| format!("wrote {}", file.display())),
    );
    Ok(())
}

/// A node's public key, from its id in the swarm or from itself.
fn member(text: &str) -> Done<PublicKey> {
    let by_id = text.parse::<PeerId>().ok().and_then(|id| fondaco_net::public_key(&id));
    by_id.or_else(|| text.parse().ok()).ok_or_else(|| {
        Fail::usage(format!(
            "{text:?} is neither a node's id (12D3Koo…, as the node says it that wants to join) nor its public key (as `fondaco \
             key show` says it there)"
        ))
    })
}

/// Puts a token in its place, if it is one for this node.
pub fn join(folder: &Folder, token: &str, json: bool, out: &Out) -> Done {
    let deployment = folder.deployment()?;
    let text = match from_text(token) {
        Ok(_) => token.trim().to_owned(),
        Err(_) => read_text(std::path::Path::new(token))?.trim().to_owned(),
    };
    let Some(authority) = deployment.network.authority else {
        let signer = from_text(&text).ok().as_deref().and_then(signer_of);
        let signer = signer.ok_or_else(|| Fail::refused("this is no membership token"))?;
        return Err(Fail::failed(format!(
            "fondaco.toml names no private network: if {signer} is the key of the one that this node is to join, write authority \
             = \"{signer}\" under [network], and do this again"
        )));
    };
    let membership = held(authority, &text, load_key(&folder.node_key(&deployment))?.public())?;
    let file = folder.path().join(&deployment.network.membership);
    replace(&file, format!("{text}\n").as_bytes(), 0o644)?;
    let until = when(membership.not_after());
    out.result(
        json,
        || serde_json::json!({ "authority": authority, "name": membership.name(), "until": until, "file": file }),
        || {
            format!(
                "this node is a member of the network of {authority} until {until}\n  a node that is up takes the token when it \
                 is started again"
            )
        },
    );
    Ok(())
}
