//! Visitors. A cookie is 32 random bytes, and everything that the node knows about its bearer follows from it: the handle
//! that plugins see, the token for forms, and the library's key. Nothing is stored for somebody who only looks around.
//! A visitor who brought a library along has its key's public half in the cookie too, under the node's tag.

use std::sync::Arc;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use fondaco_runtime::{LazyHolder, Visitor};
use fondaco_schemas::HolderKey;

use crate::keys::{Library, random};
use crate::{Error, Market};

/// What a browser keeps.
#[derive(Clone, Copy, Default)]
pub struct Cookie {
    secret: [u8; 32],
    brought: Option<HolderKey>,
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie(…)")
    }
}

/// The visitor's library, where what is bought goes, and that of the cookie itself: another one where the visitor brought a
/// library along.
pub(crate) fn libraries(visitor: &Visitor) -> Result<(HolderKey, HolderKey), Error> {
    let own = (*visitor.own).ok_or_else(|| Error::Refused("the key of this library cannot be made".into()))?;
    Ok((visitor.brought.unwrap_or(own), own))
}

impl Market {
    /// For a new visitor.
    pub fn new_cookie(&self) -> Cookie {
        Cookie { secret: random(), brought: None }
    }

    /// The cookie's value as it is sent.
    pub fn write_cookie(&self, cookie: &Cookie) -> String {
        let mut bytes = cookie.secret.to_vec();
        if let Some(holder) = &cookie.brought {
            bytes.extend_from_slice(holder.as_bytes());
            let tag = self.keys().tag("cookie", &bytes);
            bytes.extend_from_slice(&tag);
        }
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// A cookie that came back; none where it is not one of ours.
    pub fn read_cookie(&self, value: &str) -> Option<Cookie> {
        if value.len() > 256 {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(value.as_bytes()).ok()?;
        let (secret, rest) = bytes.split_first_chunk::<32>()?;
        if rest.is_empty() {
            return Some(Cookie { secret: *secret, brought: None });
        }
        let (holder, tag) = rest.split_first_chunk::<32>()?;
        let signed = bytes.get(..64)?;
        self.keys()
            .check_tag("cookie", signed, tag)
            .then(|| Cookie { secret: *secret, brought: Some(HolderKey::new(*holder)) })
    }

    /// Who a cookie's bearer is.
    pub fn visitor(&self, cookie: &Cookie) -> Visitor {
        let cookie_hash = *blake3::hash(&cookie.secret).as_bytes();
        let handle = self.keys().tag("handle", &cookie_hash);
        let handle = HEXLOWER.encode(handle.get(..16).unwrap_or_default());
        let seed = self.own_seed(cookie);
        let own = LazyHolder::new(Box::new(move || Library::from_seed(seed).ok().map(|library| library.holder())));
        Visitor { handle, cookie_hash, brought: cookie.brought, own, led_on: Arc::default() }
    }

    /// The token that the visitor's forms carry.
    pub fn csrf_token(&self, cookie: &Cookie) -> String {
        BASE64URL_NOPAD.encode(&self.keys().tag("form", &cookie.secret))
    }

    fn own_seed(&self, cookie: &Cookie) -> [u8; 32] {
        self.keys().derive("holder", &cookie.secret)
    }

    fn own_library(&self, cookie: &Cookie) -> Result<Library, Error> {
        Library::from_seed(self.own_seed(cookie)).map_err(|e| Error::Refused(e.to_string()))
    }

    /// The text of the visitor's library key file: of the library that belongs to the cookie itself.
    pub async fn library_key(&self, cookie: &Cookie) -> Result<String, Error> {
        let own = self.own_library(cookie)?;
        let is_other = cookie.brought.is_some_and(|brought| brought != own.holder());
        if is_other && self.ledger().library(own.holder(), crate::now()).await?.is_empty() {
            return Err(Error::Refused(
                "You brought this library along, so its key is in your own hands: the file that you restored it from."
                    .into(),
            ));
        }
        Ok(own.to_text(&self.looks().brand.name))
    }

    /// The same visitor with the library of a key file.
    pub fn restore_library(&self, cookie: &Cookie, text: &str) -> Result<Cookie, Error> {
        let library = Library::from_text(text).map_err(|_| {
            Error::Refused("This is no library key. Paste the whole text of the file library.key.".into())
        })?;
        Ok(Cookie { brought: Some(library.holder()), ..*cookie })
    }
}
