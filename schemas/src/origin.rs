//! Which web service: scheme, host and port. Grants, requests of plugins and addresses in files are all read by the one
//! parser here, which takes each origin in one spelling only; what two parsers could read differently is refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text names no host to call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no web origin: write scheme, lower-case host and perhaps port, such as \"https://api.example.org\"")]
pub struct OriginError(String);

/// Scheme, host and port of a web service (RFC 6454): `https://api.example.org`. No path, no wildcard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

/// The host of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostName<'a> {
    /// A name, to be looked up.
    Name(&'a str),
    /// An address, written down.
    Address(IpAddr),
}

impl Origin {
    /// Its text, without a default port.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Is what is sent there readable on the way?
    pub fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
    /// Host and port as they stand in a `Host` header: `api.example.org`, `[2001:db8::1]:8443`.
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, rest)| rest)
    }
    /// The host.
    pub fn host(&self) -> HostName<'_> {
        let host = self.split_port().0;
        let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse();
        address.map_or(HostName::Name(host), HostName::Address)
    }
    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.split_port().1.unwrap_or(if self.is_plain() { 80 } else { 443 })
    }
    fn split_port(&self) -> (&str, Option<u16>) {
        let authority = self.authority();
        let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        port.and_then(|(host, port)| Some((host, Some(port.parse().ok()?)))).unwrap_or((authority, None))
    }
}

impl FromStr for Origin {
    type Err = OriginError;
    fn from_str(text: &str) -> Result<Self, OriginError> {
        let refused = || OriginError(text.chars().take(80).collect());
        let (scheme, default, rest) = match text.split_once("://") {
            Some(("https", rest)) => ("https", 443, rest),
            Some(("http", rest)) => ("http", 80, rest),
            _ => return Err(refused()),
        };
        let end = if rest.starts_with('[') { rest.find(']').ok_or_else(refused)? + 1 } else { rest.len() };
        let (host, port) = match rest.get(end..).and_then(|after| after.strip_prefix(':')) {
            Some(port) => (rest.get(..end).unwrap_or_default(), Some(port)),
            None => rest
                .split_once(':')
                .filter(|_| end == rest.len() && !rest.starts_with('['))
                .map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        if !is_host(host) {
            return Err(refused());
        }
        let port = match port {
            None => default,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(refused)?
            }
            Some(_) => return Err(refused()),
        };
        Ok(Self(if port == default { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }))
    }
}

fn is_host(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        // One address has one text: the canonical one (RFC 5952), which the standard library writes.
        return v6.parse::<Ipv6Addr>().is_ok_and(|a| a.to_string() == v6);
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    // A name that ends in a number is an IPv4 address or nothing (WHATWG URL, "ends in a number").
    let numeric = host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()) || l.starts_with("0x"));
    let address = host.parse::<Ipv4Addr>().is_ok();
    host.len() <= 253 && host.split('.').all(label) && (!numeric || address)
}

impl TryFrom<String> for Origin {
    type Error = OriginError;
    fn try_from(text: String) -> Result<Self, OriginError> {
        text.parse()
    }
}
impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text names no hosts to call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostsError {
    /// It is no origin, nor an origin with a wildcard.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// Its wildcard says too much, or stands in the wrong place.
    #[error(
        "{0:?} is too wide: \"*.\" stands for all names below a domain of at least two labels, such as \"https://*.example.org\""
    )]
    Wide(String),
}

/// Hosts that may be called: one origin, `https://api.example.org`, or all names below a domain,
/// `https://*.example.org` (of any depth; the domain itself is not among them).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Hosts {
    // With a wildcard: the domain.
    origin: Origin,
    below: bool,
}

impl Hosts {
    /// The one origin, where it is one.
    pub fn exact(&self) -> Option<&Origin> {
        (!self.below).then_some(&self.origin)
    }
    /// Is what is sent there readable on the way?
    pub fn is_plain(&self) -> bool {
        self.origin.is_plain()
    }
    /// The address, where one was written down in place of a name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.origin.host() {
            HostName::Address(address) => Some(address),
            HostName::Name(_) => None,
        }
    }
    /// Is this one of them?
    pub fn contain(&self, origin: &Origin) -> bool {
        if !self.below {
            return self.origin == *origin;
        }
        let (HostName::Name(domain), HostName::Name(name)) = (self.origin.host(), origin.host()) else { return false };
        self.origin.is_plain() == origin.is_plain()
            && self.origin.port() == origin.port()
            && name.strip_suffix(domain).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
    }
    /// Are all of those among these?
    pub fn cover(&self, other: &Self) -> bool {
        if other.below {
            self == other || (self.below && self.contain(&other.origin))
        } else {
            self.contain(&other.origin)
        }
    }
    /// The hosts that are in both; of two patterns one covers the other, or they share none.
    pub fn both<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        if self.cover(other) { Some(other) } else { other.cover(self).then_some(self) }
    }
}

impl FromStr for Hosts {
    type Err = HostsError;
    fn from_str(text: &str) -> Result<Self, HostsError> {
        let Some((scheme, domain)) = text.split_once("://*.") else {
            return Ok(Self { origin: text.parse()?, below: false });
        };
        let origin: Origin = format!("{scheme}://{domain}").parse()?;
        match origin.host() {
            HostName::Name(name) if name.contains('.') => Ok(Self { origin, below: true }),
            _ => Err(HostsError::Wide(text.chars().take(80).collect())),
        }
    }
}

impl From<Origin> for Hosts {
    fn from(origin: Origin) -> Self {
        Self { origin, below: false }
    }
}
impl TryFrom<String> for Hosts {
    type Error = HostsError;
    fn try_from(text: String) -> Result<Self, HostsError> {
        text.parse()
    }
}
impl From<Hosts> for String {
    fn from(hosts: Hosts) -> Self {
        hosts.to_string()
    }
}
impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.below {
            return self.origin.fmt(f);
        }
        let scheme = if self.origin.is_plain() { "http" } else { "https" };
        write!(f, "{scheme}://*.{}", self.origin.authority())
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
