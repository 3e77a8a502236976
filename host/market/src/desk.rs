//! The operator's pages. Their addresses carry the right to see them, for an hour: whoever may run commands on the node
//! asks for one, and opens it in whatever browser is at hand, also where the shop is public.

use data_encoding::BASE64URL_NOPAD;

use crate::{Market, now};

/// How long an address works, in seconds.
const ADDRESS_LASTS: i64 = 60 * 60;

impl Market {
    /// The address of an operator's page, from the shop's own on.
    pub fn desk_address(&self, page: &str) -> String {
        let expires = now().unix_timestamp() + ADDRESS_LASTS;
        let tag = BASE64URL_NOPAD.encode(&self.keys().tag("desk", format!("{expires} {page}").as_bytes()));
        format!("{}/-/desk/{page}?x={expires}&t={tag}", self.base_url().trim_end_matches('/'))
    }

    /// Whether an address of such a page is one of ours, and still works.
    pub fn opens_desk(&self, page: &str, expires: i64, tag: &str) -> bool {
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).unwrap_or_default();
        self.keys().check_tag("desk", format!("{expires} {page}").as_bytes(), &tag) && now().unix_timestamp() < expires
    }
}
