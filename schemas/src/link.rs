//! `fondaco:` links: a release and where it may be had.
//!
//! `fondaco:<release id>?p=<address>&p=<address>&ws=<web seed>`. The id alone says what is meant, and whoever fetches it
//! verifies it; the addresses only help to find it. They are libp2p multiaddresses that end with a peer's id, and addresses
//! of web servers that have the files; here they are text, which the network crate reads. Used by the command line, which
//! prints links and takes them.

use std::fmt;
use std::str::FromStr;

use crate::ReleaseId;

/// How a link begins.
pub const SCHEME: &str = "fondaco:";
/// The longest link, in bytes.
pub const MAX_LINK_BYTES: usize = 4096;
/// The most addresses in one.
pub const MAX_ADDRESSES: usize = 16;

/// A link to a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which release.
    pub release: ReleaseId,
    /// Where it may be had: multiaddresses.
    pub addresses: Vec<String>,
    /// Web servers that have its files: a folder that ends with `/`, an address with `{hash}` and `{path}` in it, or that of
    /// the only file.
    pub web: Vec<String>,
}

/// Why a text is no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no link: {why}")]
pub struct LinkError {
    text: String,
    why: String,
}

impl Link {
    /// The bare link to a release, without a place.
    pub fn to(release: ReleaseId) -> Self {
        Self { release, addresses: Vec::new(), web: Vec::new() }
    }

    /// Whether a text means to be a link.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.release)?;
        write_query(f, &self.addresses, &self.web)
    }
}

/// Writes the places of a link, with all that is before and between them.
pub(crate) fn write_query(f: &mut fmt::Formatter<'_>, addresses: &[String], web: &[String]) -> fmt::Result {
    let addresses = addresses.iter().map(|address| ("p", address));
    for (i, (name, value)) in addresses.chain(web.iter().map(|web| ("ws", web))).enumerate() {
        write!(f, "{}{name}=", if i == 0 { '?' } else { '&' })?;
        for byte in value.bytes() {
            // RFC 3986, section 3.4: these may stand in a query as they are.
            if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
    }
    Ok(())
}

/// Reads the places out of the query of a link: addresses of nodes, and of web servers.
pub(crate) fn read_query(text: &str, query: &str) -> Result<(Vec<String>, Vec<String>), LinkError> {
    let refuse = |why: &str| LinkError::new(text, why);
    if text.len() > MAX_LINK_BYTES {
        return Err(refuse("it is longer than 4096 characters"));
    }
    let (mut addresses, mut web) = (Vec::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| refuse("its parameters must be name=value"))?;
        // Links of later versions may say more; what is not known is passed over.
        let list = match name {
            "p" => &mut addresses,
            "ws" => &mut web,
            _ => continue,
        };
        list.push(decode(value).ok_or_else(|| refuse("an address in it is not percent-encoded"))?);
    }
    if addresses.len() + web.len() > MAX_ADDRESSES {
        return Err(refuse("it has more than 16 addresses"));
    }
    Ok((addresses, web))
}

impl LinkError {
    pub(crate) fn new(text: &str, why: &str) -> Self {
        Self { text: text.chars().take(80).collect(), why: why.to_owned() }
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let refuse = |why: &str| LinkError::new(text, why);
        if text.len() > MAX_LINK_BYTES {
            return Err(refuse("it is longer than 4096 characters"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| refuse("it must begin with fondaco:"))?;
        let (release, query) = rest.split_once('?').unwrap_or((rest, ""));
        let release = release.parse().map_err(|e: crate::id::IdError| refuse(&e.to_string()))?;
        let (addresses, web) = read_query(text, query)?;
        Ok(Self { release, addresses, web })
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
            digit(rest.next()?)? << 4 | digit(rest.next()?)?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_reads_back_as_it_was_written() {
        for addresses in [vec![], vec!["/ip4/192.0.2.1/tcp/1/p2p/12D3"], vec!["/dns/ä.example/tcp/1", "/x&y=%?#/ z"]] {
            let addresses: Vec<String> = addresses.into_iter().map(str::to_owned).collect();
            for web in [vec![], vec!["https://a.example/files/{hash}/{path}?x=1&y".to_owned(), "https://b/ä/".into()]]
            {
                let link = Link { release: ReleaseId::new([9; 32]), addresses: Vec::clone(&addresses), web };
                let text = link.to_string();
                assert!(Link::is_meant(&text) && text.is_ascii() && !text.contains([' ', '#']), "{text}");
                assert_eq!(text.parse(), Ok(link));
            }
        }
    }

    #[test]
    fn what_is_no_link_is_refused_and_what_is_not_known_passed_over() {
        let id = "0".repeat(64);
        for bad in [
            id.clone(),
            "fondaco:".into(),
            "fondaco:abc".into(),
            format!("fondaco:{id}?p"),
            format!("fondaco:{id}?p=%zz"),
            format!("fondaco:{id}?p=%0a"),
            format!("fondaco:{id}?p=%ff"),
            format!("fondaco:{id}?p={}", "x".repeat(5000)),
            format!("fondaco:{id}?{}", "p=/a&".repeat(17)),
            format!("fondaco:{id}?{}{}", "p=/a&".repeat(9), "ws=https://a/&".repeat(8)),
        ] {
            assert!(bad.parse::<Link>().is_err(), "{bad}");
        }
        let link: Link = format!("fondaco:{id}?ws=https://a.example/&xx=7&p=/a").parse().unwrap();
        assert_eq!((link.addresses, link.web), (vec!["/a".to_owned()], vec!["https://a.example/".to_owned()]));
    }
}
