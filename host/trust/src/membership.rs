//! Memberships of a private network: signing one, and the steps in which one is believed.
//!
//! [`verify_membership`] is the only place where that is decided. It knows no clock: the caller says what time it is, and
//! asks again while a connection lasts.

use data_encoding::BASE64URL_NOPAD;
use fondaco_schemas::envelope::Payload;
use fondaco_schemas::membership::{MAX_MEMBER_NAME_BYTES, MAX_MEMBERSHIP_BYTES, Membership};
use fondaco_schemas::{EnvelopeError, PublicKey, Signed};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::keys::{KeyPair, check_public_key, is_signature};
use crate::release::{ReleaseError, sign};

/// Why a membership is not believed, or not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// Its size, form, key or signature.
    #[error(transparent)]
    Signed(#[from] ReleaseError),
    /// Not the text of a token.
    #[error("the text is no membership token: one begins with {PREFIX}")]
    Text,
    /// Somebody else's network.
    #[error("the membership token is of another network: {found} signed it, and the authority here is {authority}")]
    Authority {
        /// Who signed.
        found: PublicKey,
        /// Who should have.
        authority: PublicKey,
    },
    /// A name that nobody could read.
    #[error("the name in the membership token is longer than {MAX_MEMBER_NAME_BYTES} bytes or has control characters")]
    Name,
    /// Somebody else's token.
    #[error("the membership token is another node's: it is for the node with the public key {0}")]
    Member(PublicKey),
    /// Its time is over.
    #[error("the membership token ended on {}", when(*.0))]
    Ended(u64),
}

/// A time in seconds since 1970, as people read it.
pub fn when(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    time.and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_else(|| format!("second {seconds}"))
}

/// Signs a membership with the authority's key. `not_after` is in seconds since 1970.
pub fn sign_membership(
    authority: &KeyPair,
    member: PublicKey,
    not_after: u64,
    name: Option<String>,
) -> Result<Vec<u8>, MembershipError> {
    check_public_key(&member).map_err(ReleaseError::from)?;
    let membership = Membership { network: authority.public(), member, not_after, name };
    check_name(&membership)?;
    Ok(sign(authority, &membership)?.encode())
}

/// Verifies that a node belongs to an authority's network at a time, in seconds since 1970.
pub fn verify_membership(
    envelope: &[u8],
    authority: &PublicKey,
    member: &PublicKey,
    now: u64,
) -> Result<Membership, MembershipError> {
    // 1. Size: nothing longer is read.
    if envelope.len() > MAX_MEMBERSHIP_BYTES {
        let (found, most) = (envelope.len(), MAX_MEMBERSHIP_BYTES);
        return Err(ReleaseError::TooLong { what: "membership token", found, most }.into());
    }
    // 2. Form: an envelope in its one encoding, of this payload type and no other.
    let signed = Signed::<Membership>::decode(envelope).map_err(ReleaseError::from)?;
    // 3. The signer is the authority that the operator named. Before the signature, since strangers make us look.
    if signed.key() != authority {
        return Err(MembershipError::Authority { found: *signed.key(), authority: *authority });
    }
    // 4. The authority's key is one under which a signature means something.
    check_public_key(authority).map_err(ReleaseError::from)?;
    // 5. The signature over type and payload.
    if !is_signature(authority, &signed.preimage(), signed.signature()) {
        return Err(ReleaseError::Signature { what: "membership token", key: *authority }.into());
    }
    // 6. Only now is the payload read. It has one encoding, too.
    let membership = signed.read().map_err(ReleaseError::from)?;
    if membership.to_bytes().map_err(ReleaseError::from)? != signed.payload() {
        return Err(ReleaseError::from(EnvelopeError::Malformed).into());
    }
    // 7. What it says of the network is who signed.
    if membership.network != *authority {
        return Err(MembershipError::Authority { found: membership.network, authority: *authority });
    }
    // 8. Its name can be shown to people.
    check_name(&membership)?;
    // 9. It is this node's, and was not taken from another's mouth: whose key the peer has, its connection proved.
    if membership.member != *member {
        return Err(MembershipError::Member(membership.member));
    }
    // 10. Its time is not over.
    if now > membership.not_after {
        return Err(MembershipError::Ended(membership.not_after));
    }
    Ok(membership)
}

fn check_name(membership: &Membership) -> Result<(), MembershipError> {
    let fits = |name: &String| name.len() <= MAX_MEMBER_NAME_BYTES && !name.chars().any(char::is_control);
    if membership.name.as_ref().is_none_or(fits) { Ok(()) } else { Err(MembershipError::Name) }
}

/// The authority that a token names as its signer, for an operator who has named none yet. Nothing is verified.
pub fn signer_of(envelope: &[u8]) -> Option<PublicKey> {
    Some(*Signed::<Membership>::decode(envelope).ok()?.key())
}

/// What the text of a token begins with.
const PREFIX: &str = "fondaco-membership:";
/// The longest text: the prefix, and four letters for three bytes.
const MAX_TEXT_BYTES: usize = PREFIX.len() + MAX_MEMBERSHIP_BYTES.div_ceil(3) * 4;

/// A token as one line of text, to be sent by mail and kept in a file.
pub fn to_text(envelope: &[u8]) -> String {
    format!("{PREFIX}{}", BASE64URL_NOPAD.encode(envelope))
}

/// Reads the text of a token; white space around it is nothing.
pub fn from_text(text: &str) -> Result<Vec<u8>, MembershipError> {
    let body = text.trim().strip_prefix(PREFIX).filter(|_| text.trim().len() <= MAX_TEXT_BYTES);
    BASE64URL_NOPAD.decode(body.ok_or(MembershipError::Text)?.as_bytes()).map_err(|_| MembershipError::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    struct Scene {
        authority: KeyPair,
        member: PublicKey,
        token: Vec<u8>,
    }

    fn scene() -> Scene {
        let (authority, member) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap().public());
        let token = sign_membership(&authority, member, NOW + 10, Some("Branch Łódź".into())).unwrap();
        Scene { authority, member, token }
    }

    impl Scene {
        fn verify(&self, token: &[u8]) -> Result<Membership, MembershipError> {
            verify_membership(token, &self.authority.public(), &self.member, NOW)
        }

        /// A token of any payload, with a true signature.
        fn signed(by: &KeyPair, payload: Vec<u8>) -> Vec<u8> {
            let signature = crate::release::sign_bytes(by, Membership::TYPE, &payload);
            Signed::<Membership>::from_parts(payload, by.public(), signature).encode()
        }

        fn of(&self, change: impl FnOnce(&mut Membership)) -> Vec<u8> {
            let mut membership = self.verify(&self.token).unwrap();
            change(&mut membership);
            Self::signed(&self.authority, membership.to_bytes().unwrap())
        }
    }

    #[test]
    fn a_token_reads_back_and_any_changed_byte_ends_it() {
        let scene = scene();
        assert!(scene.token.len() < MAX_MEMBERSHIP_BYTES - MAX_MEMBER_NAME_BYTES, "{}", scene.token.len());
        let membership = scene.verify(&scene.token).unwrap();
        assert_eq!((membership.network, membership.member), (scene.authority.public(), scene.member));
        assert_eq!((membership.not_after, membership.name.as_deref()), (NOW + 10, Some("Branch Łódź")));
        for at in 0..scene.token.len() {
            for flip in [1, 0x80] {
                let mut bad = scene.token.clone();
                bad[at] ^= flip;
                assert!(scene.verify(&bad).is_err(), "byte {at}");
            }
            assert!(scene.verify(&scene.token[..at]).is_err(), "cut at {at}");
        }
        assert!(scene.verify(&[scene.token.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn it_holds_until_its_last_second_and_no_longer() {
        let scene = scene();
        let at = |now| verify_membership(&scene.token, &scene.authority.public(), &scene.member, now);
        assert!(at(0).is_ok() && at(NOW + 10).is_ok());
        let refused = at(NOW + 11).unwrap_err();
        assert_eq!(refused.to_string(), "the membership token ended on 2027-01-15T08:00:10Z");
        assert!(at(u64::MAX).is_err());
    }

    #[test]
    fn another_nodes_token_and_another_authoritys_are_worth_nothing() {
        let (ours, theirs) = (scene(), scene());
        let refused = verify_membership(&ours.token, &ours.authority.public(), &theirs.member, NOW).unwrap_err();
        assert!(matches!(refused, MembershipError::Member(member) if member == ours.member), "{refused}");
        let foreign = sign_membership(&theirs.authority, ours.member, NOW + 10, None).unwrap();
        assert!(matches!(ours.verify(&foreign), Err(MembershipError::Authority { .. })));
        // The authority's name on it, and another's signature.
        let payload = ours.verify(&ours.token).unwrap().to_bytes().unwrap();
        let signature = crate::release::sign_bytes(&theirs.authority, Membership::TYPE, &payload);
        let forged = Signed::<Membership>::from_parts(payload, ours.authority.public(), signature).encode();
        let refused = ours.verify(&forged).unwrap_err();
        assert!(matches!(refused, MembershipError::Signed(ReleaseError::Signature { .. })), "{refused}");
        // Signed by the authority, and for the network of another.
        let other = theirs.authority.public();
        assert!(matches!(ours.verify(&ours.of(|m| m.network = other)), Err(MembershipError::Authority { .. })));
    }

    #[test]
    fn what_the_authority_signed_as_something_else_is_no_token() {
        let scene = scene();
        let payload = scene.verify(&scene.token).unwrap().to_bytes().unwrap();
        let signature =
            crate::release::sign_bytes(&scene.authority, "application/vnd.fondaco.receipt.v1+cbor", &payload);
        let other = Signed::<Membership>::from_parts(payload, scene.authority.public(), signature).encode();
        assert!(scene.verify(&other).is_err());
        assert!(crate::receipt::verify_receipt(&scene.token).is_err());
        assert!(crate::release::verify_release(&scene.token).is_err());
    }

    #[test]
    fn a_key_of_small_order_is_no_authority_and_no_member() {
        let scene = scene();
        // The identity: one constant signature fits every message under it.
        let mut identity = [0; 32];
        identity[0] = 1;
        let identity = PublicKey::new(identity);
        let membership = Membership { network: identity, ..scene.verify(&scene.token).unwrap() };
        let mut signature = [0; 64];
        signature[0] = 1;
        let forged = Signed::<Membership>::from_parts(membership.to_bytes().unwrap(), identity, signature).encode();
        let refused = verify_membership(&forged, &identity, &scene.member, NOW).unwrap_err();
        assert!(matches!(refused, MembershipError::Signed(ReleaseError::Key(_))), "{refused}");
        assert!(sign_membership(&scene.authority, identity, NOW, None).is_err());
    }

    #[test]
    fn one_token_has_one_encoding_and_its_size_and_name_have_an_end() {
        let scene = scene();
        let mut payload = scene.verify(&scene.token).unwrap().to_bytes().unwrap();
        // The same map, of indefinite length.
        assert_eq!(payload[0], 0xa4);
        payload[0] = 0xbf;
        payload.push(0xff);
        assert!(scene.verify(&Scene::signed(&scene.authority, payload)).is_err());
        for bad in ["x".repeat(MAX_MEMBER_NAME_BYTES + 1), "a\nb".into(), "\u{1b}[2J".into()] {
            let token = scene.of(|m| m.name = Some(bad.clone()));
            assert!(matches!(scene.verify(&token), Err(MembershipError::Name)), "{bad:?}");
            assert!(sign_membership(&scene.authority, scene.member, NOW, Some(bad)).is_err());
        }
        let long = scene.of(|m| m.name = Some("x".repeat(MAX_MEMBERSHIP_BYTES)));
        let refused = scene.verify(&long).unwrap_err().to_string();
        assert!(refused.contains(&format!("and at most {MAX_MEMBERSHIP_BYTES} are read")), "{refused}");
    }

    #[test]
    fn the_text_of_a_token_reads_back_and_other_texts_are_refused() {
        let scene = scene();
        let text = to_text(&scene.token);
        assert!(!text.contains(char::is_whitespace) && text.starts_with(PREFIX), "{text}");
        assert_eq!(from_text(&format!("\n {text} \r\n")).unwrap(), scene.token);
        assert_eq!(signer_of(&scene.token), Some(scene.authority.public()));
        let long = to_text(&vec![0; MAX_MEMBERSHIP_BYTES + 3]);
        for bad in ["", PREFIX, "membership", &text[1..], &format!("{text}="), &format!("{text} x"), &long] {
            assert!(from_text(bad).is_ok_and(|b| b.is_empty()) || from_text(bad).is_err(), "{bad}");
        }
        assert!(scene.verify(&from_text(PREFIX).unwrap()).is_err());
    }
}
