//! Reading pages: a small tree of elements, and what holds for every page of a shop.

pub(crate) mod access;
pub(crate) mod crawl;
pub(crate) mod policy;
pub(crate) mod tree;

use url::Url;

use crate::host::BASE_URL;

/// A page that a storefront answered.
pub(crate) struct Page {
    /// The path and query that it was asked for by.
    pub target: String,
    /// The elements.
    pub tree: tree::Tree,
}

impl Page {
    /// Reads HTML as browsers do, as far as the checks need it.
    pub fn read(target: &str, html: &[u8]) -> Self {
        Self { target: target.to_owned(), tree: tree::Tree::read(html) }
    }

    /// Where an address on this page leads.
    pub fn resolve(&self, address: &str) -> Option<Where> {
        resolve(&self.target, address)
    }
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// Into the shop: path and query.
    Here(String),
    /// To another site, or what is no web page (`mailto:`).
    Elsewhere(String),
}

/// Resolves an address that stands at `target` (WHATWG URL).
pub(crate) fn resolve(target: &str, address: &str) -> Option<Where> {
    let base = Url::parse(BASE_URL).ok()?.join(target).ok()?;
    let url = base.join(address.trim()).ok()?;
    if url.origin() == base.origin() {
        let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
        return Some(Where::Here(format!("{}{query}", url.path())));
    }
    Some(Where::Elsewhere(url.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_into_the_shop_or_out_of_it() {
        let here = |address: &str, path: &str| {
            assert_eq!(resolve("/a/b?c", address), Some(Where::Here(path.into())), "{address}");
        };
        here("/x?y#z", "/x?y");
        here("d", "/a/d");
        here("../d", "/d");
        here("?e", "/a/b?e");
        here("#f", "/a/b?c");
        here("https://shop.example/x", "/x");
        for away in [
            "//evil.example/x",
            "https://shop.example.evil.example/",
            "http://shop.example/",
            "mailto:a@b.example",
            "javascript:kit()",
        ] {
            assert!(matches!(resolve("/", away), Some(Where::Elsewhere(_))), "{away}");
        }
    }
}
