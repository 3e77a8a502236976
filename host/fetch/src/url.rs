//! Where a request goes. One parser, [`Origin`]'s, reads scheme, host and port, in one spelling only; the rest is the path
//! as it goes out on the wire. What other parsers might read differently (user names, backslashes, fragments, control
//! characters, numbers that stand for addresses) is refused, never mended.

use std::fmt;
use std::str::FromStr;

use fondaco_schemas::Origin;
use fondaco_schemas::origin::OriginError;
use http::uri::PathAndQuery;

/// Bytes in an address.
pub const MAX_URL: usize = 8 << 10;

/// Why a text is no address to send a request to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Scheme, host or port.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// Too many bytes.
    #[error("the address has {0} bytes; at most {MAX_URL} are taken")]
    Long(usize),
    /// Something that must be percent-encoded, or that is not sent to a server.
    #[error("the address has {0:?} in its path; percent-encode it (a fragment is never sent: leave it out)")]
    Character(char),
    /// A path that does not begin with a slash, or is no path.
    #[error("the path {0:?} is none: it begins with \"/\"")]
    Path(String),
}

/// An address to send a request to: origin, path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    origin: Origin,
    target: PathAndQuery,
}

impl Url {
    /// Of an origin and what follows it: empty, or a path or a query.
    pub fn new(origin: Origin, path_and_query: &str) -> Result<Self, UrlError> {
        let length = origin.as_str().len() + path_and_query.len();
        if length > MAX_URL {
            return Err(UrlError::Long(length));
        }
        // RFC 3986 §2: what is not listed there is encoded. Of that list, `#` begins what is never sent.
        let foreign = |c: &char| !c.is_ascii_graphic() || "\"#<>\\^`{|}".contains(*c);
        if let Some(c) = path_and_query.chars().find(foreign) {
            return Err(UrlError::Character(c));
        }
        let rooted = match path_and_query.chars().next() {
            Some('/') => path_and_query.to_owned(),
            None | Some('?') => format!("/{path_and_query}"),
            Some(_) => return Err(UrlError::Path(path_and_query.chars().take(80).collect())),
        };
        let target = rooted.parse().map_err(|_| UrlError::Path(rooted.chars().take(80).collect()))?;
        Ok(Self { origin, target })
    }
    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
    /// Path and query, as they go out.
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }
    /// The address of a file below this one, which is read as a folder: `https://a/tuf` and `root.json` give
    /// `https://a/tuf/root.json`. A query is left out; `..` is refused.
    pub fn below(&self, path: &str) -> Result<Self, UrlError> {
        if path.split('/').any(|segment| segment.is_empty() || segment == "." || segment == "..") {
            return Err(UrlError::Path(path.chars().take(80).collect()));
        }
        Self::new(self.origin.clone(), &format!("{}/{path}", self.target.path().trim_end_matches('/')))
    }
}

impl FromStr for Url {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL {
            return Err(UrlError::Long(text.len()));
        }
        let after_scheme = text.find("://").map_or(text.len(), |at| at + 3);
        let authority = text.get(after_scheme..).and_then(|rest| rest.find(['/', '?'])).map(|at| at + after_scheme);
        let (origin, rest) = text.split_at(authority.unwrap_or(text.len()));
        Self::new(origin.parse()?, rest)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_writes_them_as_they_go_out() {
        for (text, origin, target) in [
            ("https://a.example", "https://a.example", "/"),
            ("https://a.example/", "https://a.example", "/"),
            ("https://a.example?x=1", "https://a.example", "/?x=1"),
            ("https://a.example:8443/b/c?d=%20e", "https://a.example:8443", "/b/c?d=%20e"),
            ("http://[::1]:80/x", "http://[::1]", "/x"),
            ("https://a.example//b", "https://a.example", "//b"),
            ("https://a.example/@b:c", "https://a.example", "/@b:c"),
            ("https://a.b/c/d", "https://a.b", "/c/d"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.origin().as_str(), url.target().as_str()), (origin, target), "{text}");
        }
    }

    #[test]
    fn refuses_what_parsers_disagree_about() {
        for bad in [
            "https://user@a.example/",
            "https://user:pass@a.example/",
            "https://a.example\\@b.example/",
            "https://a.example\\b",
            "https://a.example/\\b",
            "https://a.example/#f",
            "https://a.example#@b.example/",
            "https://a.example/ b",
            "https://a.example/\n",
            "https://a.example/\u{e9}",
            "https://a.example./",
            "https:/a.example/",
            "https:a.example/",
            "//a.example/",
            "/a",
            "file:///etc/passwd",
            "https:///x",
            "https://a.example:443:80/",
            "https://a.example:99999/",
            "https://%61.example/",
            "https://a%2eexample/",
            "https://\u{ff41}.example/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://127.1/",
            "https://[::]x/",
            "https://a.example/{x}",
            "gopher://a.example/",
            "https://?x",
            "https://",
            "",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad:?}");
        }
        let long = format!("https://a.example/{}", "x".repeat(MAX_URL));
        assert_eq!(long.parse::<Url>(), Err(UrlError::Long(long.len())));
        let most = format!("https://a.example/{}", "x".repeat(MAX_URL - 18));
        assert_eq!((most.len(), most.parse::<Url>().unwrap().to_string()), (MAX_URL, most), "to the last byte");
        let origin: Origin = "https://a.example".parse().unwrap();
        assert!(Url::new(origin.clone(), "x").is_err() && Url::new(origin.clone(), "*").is_err());
        assert!(Url::new(origin, "http://b.example/").is_err(), "a proxy's request line");
    }

    /// Whatever is taken, two parsers of others read in the same way.
    #[test]
    fn agrees_with_other_parsers_about_everything_that_it_takes() {
        let pieces = [
            "https",
            "http",
            "://",
            ":",
            "/",
            "//",
            "a.example",
            "b",
            ".",
            "@",
            "#",
            "?",
            "\\",
            "%2f",
            "%40",
            "[::1]",
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            ":80",
            ":443",
            ":8443",
            "..",
            "xn--bcher-kva",
            "\u{3002}",
            "\t",
            "&",
            "_",
        ];
        let mut taken = 0;
        // A small generator with a fixed seed: the same 200,000 texts each time.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..200_000 {
            let mut text = String::from("https://");
            for _ in 0..=(state >> 60) % 6 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[usize::try_from(state >> 33).unwrap() % pieces.len()]);
            }
            let Ok(ours) = text.parse::<Url>() else { continue };
            taken += 1;
            let Ok(whatwg) = ::url::Url::parse(&text) else {
                assert!(text.contains("xn--"), "{text}: only wrong Punycode is refused by others and not by us");
                continue;
            };
            let uri: http::Uri = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            let port = ours.origin().port();
            let host = ours.origin().authority();
            let host = host.strip_suffix(&format!(":{port}")).unwrap_or(host);
            assert_eq!((whatwg.host_str(), whatwg.port_or_known_default()), (Some(host), Some(port)), "{text}");
            assert_eq!((uri.host(), uri.port_u16().unwrap_or(443)), (Some(host), port), "{text}");
            assert_eq!(whatwg.username(), "", "{text}");
        }
        assert!(taken > 1_000, "{taken} texts were taken");
    }

    #[test]
    fn what_is_below_stays_below() {
        let base: Url = "https://a.example/tuf/".parse().unwrap();
        assert_eq!(base.below("targets/a.fondaco").unwrap().to_string(), "https://a.example/tuf/targets/a.fondaco");
        for bad in ["../x", "a/../../x", "/x", "a//b", "", "a\\b", "a#b"] {
            assert!(base.below(bad).is_err(), "{bad}");
        }
    }
}
