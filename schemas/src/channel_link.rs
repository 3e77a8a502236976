//! Links to channels: `fondaco:channel/<publisher's key>?p=<address>`. The key alone says whose works are meant, and all that
//! is fetched for it verifies against it; the addresses only help to find somebody who has its index.

use std::fmt;
use std::str::FromStr;

use crate::PublicKey;
use crate::link::{LinkError, SCHEME, read_query, write_query};

/// What stands before the key.
const PREFIX: &str = "channel/";

/// A link to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelLink {
    /// Whose channel.
    pub channel: PublicKey,
    /// Where its index may be had: multiaddresses.
    pub addresses: Vec<String>,
}

impl ChannelLink {
    /// Whether a text means to be a link to a channel.
    pub fn is_meant(text: &str) -> bool {
        text.strip_prefix(SCHEME).is_some_and(|rest| rest.starts_with(PREFIX))
    }
}

impl fmt::Display for ChannelLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{PREFIX}{}", self.channel)?;
        write_query(f, &self.addresses, &[])
    }
}

impl FromStr for ChannelLink {
    type Err = LinkError;

    /// Reads a link, or a bare key.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let rest = if Self::is_meant(text) {
            text.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix(PREFIX)).unwrap_or_default()
        } else if text.starts_with(SCHEME) {
            return Err(LinkError::new(text, "a channel's link begins with fondaco:channel/; this one is to a work"));
        } else {
            text
        };
        let (key, query) = rest.split_once('?').unwrap_or((rest, ""));
        let channel = key.parse().map_err(|e: crate::id::IdError| LinkError::new(text, &e.to_string()))?;
        let (addresses, _) = read_query(text, query)?;
        Ok(Self { channel, addresses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channels_link_reads_back_and_a_bare_key_is_one() {
        let channel = PublicKey::new([9; 32]);
        for addresses in [vec![], vec!["/ip4/192.0.2.1/tcp/1/p2p/12D3".to_owned(), "/dns/ä.example/tcp/1".to_owned()]]
        {
            let link = ChannelLink { channel, addresses };
            assert!(ChannelLink::is_meant(&link.to_string()));
            assert_eq!(link.to_string().parse(), Ok(link));
        }
        assert_eq!(channel.to_string().parse(), Ok(ChannelLink { channel, addresses: Vec::new() }));
        let work = format!("fondaco:{channel}");
        for (bad, words) in
            [(work.as_str(), "to a work"), ("fondaco:channel/abc", "64 hexadecimal"), ("", "64 hexadecimal")]
        {
            let error = bad.parse::<ChannelLink>().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
