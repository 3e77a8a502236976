//! Which addresses are of the public Internet. Everything that is not known to be is named and refused: what is inside a
//! house or a data centre, what stands for an address of another kind, and what is reserved.
//!
//! Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890), and the address blocks of the transition
//! techniques that carry an IPv4 address inside an IPv6 one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is, where it is not of the public Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// `0.0.0.0/8` or `::`: "this host" (RFC 1122 §3.2.1.3).
    Unspecified,
    /// `127.0.0.0/8` or `::1`.
    Loopback,
    /// `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16` (RFC 1918).
    Private,
    /// `100.64.0.0/10`: behind a carrier's NAT (RFC 6598).
    Shared,
    /// `169.254.0.0/16` or `fe80::/10`.
    LinkLocal,
    /// Where clouds tell machines about themselves: `169.254.169.254`, `168.63.129.16`, `100.100.100.200`,
    /// `192.0.0.192`, `fd00:ec2::254`, `fd20:ce::254`.
    Metadata,
    /// `fc00::/7` (RFC 4193).
    UniqueLocal,
    /// `fec0::/10` (RFC 3879, deprecated).
    SiteLocal,
    /// `224.0.0.0/4` or `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// `192.0.2.0/24`, `198.51.100.0/24`, `203.0.113.0/24` (RFC 5737), `2001:db8::/32`, `3fff::/20`.
    Documentation,
    /// `198.18.0.0/15` (RFC 2544), `2001:2::/48`.
    Benchmarking,
    /// `::ffff:0:0/96`, and `::ffff:0:0:0/96` of stateless translation (RFC 2765).
    Mapped,
    /// `::/96` (RFC 4291 §2.5.5.1, deprecated).
    Compatible,
    /// `2002::/16`, and `192.88.99.0/24` of its relays (RFC 7526, deprecated).
    SixToFour,
    /// `64:ff9b::/96` (RFC 6052) and `64:ff9b:1::/48` (RFC 8215).
    Nat64,
    /// `2001::/32` (RFC 4380).
    Teredo,
    /// An interface identifier `::0:5efe:a.b.c.d` or `::200:5efe:a.b.c.d` under any prefix (RFC 5214 §6.1).
    Isatap,
    /// Anything else that is not given out for the public Internet.
    Reserved,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "an unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Shared => "an address behind a carrier's NAT",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud's metadata service",
            Self::UniqueLocal => "a unique local address",
            Self::SiteLocal => "a site-local address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "a broadcast address",
            Self::Documentation => "an address for documentation",
            Self::Benchmarking => "an address for benchmarks",
            Self::Mapped => "an IPv4-mapped address",
            Self::Compatible => "an IPv4-compatible address",
            Self::SixToFour => "a 6to4 address",
            Self::Nat64 => "a NAT64 address",
            Self::Teredo => "a Teredo address",
            Self::Isatap => "an ISATAP address",
            Self::Reserved => "a reserved address",
        })
    }
}

/// Which addresses a request may be sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Those of the public Internet.
    #[default]
    Public,
    /// Also loopback, private, shared and unique local ones: a service on the operator's own network. Link-local
    /// addresses, metadata services and addresses inside addresses stay refused.
    Private,
    /// All: for an address that the operator wrote down.
    Any,
}

impl Reach {
    /// Why not there; `None` where it may.
    pub fn refuses(self, address: IpAddr) -> Option<Class> {
        let class = class(address)?;
        let own = matches!(class, Class::Loopback | Class::Private | Class::Shared | Class::UniqueLocal);
        match self {
            Self::Public => Some(class),
            Self::Private => (!own).then_some(class),
            Self::Any => None,
        }
    }
}

/// What an address is; `None` for one of the public Internet.
pub fn class(address: IpAddr) -> Option<Class> {
    match address {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    }
}

/// First matches win, so that the narrower blocks stand first.
const V4: [(u32, u32, Class); 21] = [
    (v4(169, 254, 169, 254), 32, Class::Metadata),
    (v4(168, 63, 129, 16), 32, Class::Metadata),
    (v4(100, 100, 100, 200), 32, Class::Metadata),
    (v4(192, 0, 0, 192), 32, Class::Metadata),
    (v4(255, 255, 255, 255), 32, Class::Broadcast),
    (v4(0, 0, 0, 0), 8, Class::Unspecified),
    (v4(10, 0, 0, 0), 8, Class::Private),
    (v4(100, 64, 0, 0), 10, Class::Shared),
    (v4(127, 0, 0, 0), 8, Class::Loopback),
    (v4(169, 254, 0, 0), 16, Class::LinkLocal),
    (v4(172, 16, 0, 0), 12, Class::Private),
    (v4(192, 0, 0, 0), 24, Class::Reserved),
    (v4(192, 0, 2, 0), 24, Class::Documentation),
    (v4(192, 88, 99, 0), 24, Class::SixToFour),
    (v4(192, 168, 0, 0), 16, Class::Private),
    (v4(198, 18, 0, 0), 15, Class::Benchmarking),
    (v4(198, 51, 100, 0), 24, Class::Documentation),
    (v4(203, 0, 113, 0), 24, Class::Documentation),
    (v4(224, 0, 0, 0), 4, Class::Multicast),
    (v4(240, 0, 0, 0), 4, Class::Reserved),
    (v4(192, 175, 48, 0), 24, Class::Reserved),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

fn class_v4(address: Ipv4Addr) -> Option<Class> {
    let bits = address.to_bits();
    V4.iter().find(|(block, length, _)| (bits ^ block) >> (32 - length) == 0).map(|(_, _, class)| *class)
}

/// As above. What lies outside of `2000::/3` and is in no line here is reserved.
const V6: [([u16; 8], u32, Class); 20] = [
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, Class::Metadata),
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, Class::Metadata),
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, Class::Unspecified),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Class::Loopback),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, Class::Mapped),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, Class::Mapped),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, Class::Compatible),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Class::Nat64),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Class::Nat64),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Class::UniqueLocal),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Class::LinkLocal),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Class::SiteLocal),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Class::Multicast),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Class::Teredo),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Class::Benchmarking),
    // The rest of the protocol assignments: overlay identifiers and the like, nothing that serves HTTP.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Class::Reserved),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Class::Documentation),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Class::SixToFour),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Class::Documentation),
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, Class::Reserved),
];

fn class_v6(address: Ipv6Addr) -> Option<Class> {
    let bits = address.to_bits();
    let within = |(block, length, _): &&([u16; 8], u32, Class)| {
        let block = Ipv6Addr::from(*block).to_bits();
        (bits ^ block) >> (128 - length) == 0
    };
    if let Some((_, _, class)) = V6.iter().find(within) {
        return Some(*class);
    }
    if bits >> 125 != 1 {
        return Some(Class::Reserved);
    }
    let [_, _, _, _, high, low, _, _] = address.segments();
    (low == 0x5efe && high & !0x0200 == 0).then_some(Class::Isatap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<Class>) {
        assert_eq!(class(text.parse().unwrap()), expect, "{text}");
    }

    #[test]
    fn names_the_first_and_the_last_address_of_every_block_and_not_their_neighbours() {
        for (first, last, expect) in [
            ("0.0.0.0", "0.255.255.255", Class::Unspecified),
            ("10.0.0.0", "10.255.255.255", Class::Private),
            ("100.64.0.0", "100.127.255.255", Class::Shared),
            ("127.0.0.0", "127.255.255.255", Class::Loopback),
            ("169.254.0.0", "169.254.255.255", Class::LinkLocal),
            ("172.16.0.0", "172.31.255.255", Class::Private),
            ("192.0.0.0", "192.0.0.255", Class::Reserved),
            ("192.0.2.0", "192.0.2.255", Class::Documentation),
            ("192.88.99.0", "192.88.99.255", Class::SixToFour),
            ("192.168.0.0", "192.168.255.255", Class::Private),
            ("198.18.0.0", "198.19.255.255", Class::Benchmarking),
            ("198.51.100.0", "198.51.100.255", Class::Documentation),
            ("203.0.113.0", "203.0.113.255", Class::Documentation),
            ("224.0.0.0", "239.255.255.255", Class::Multicast),
            ("240.0.0.0", "255.255.255.254", Class::Reserved),
            ("::2", "::ffff:ffff", Class::Compatible),
            ("::ffff:0:0", "::ffff:255.255.255.255", Class::Mapped),
            ("64:ff9b::", "64:ff9b::ffff:ffff", Class::Nat64),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Class::Nat64),
            ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Class::Teredo),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Class::Documentation),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Class::SixToFour),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Class::Documentation),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Class::UniqueLocal),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Class::LinkLocal),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Class::SiteLocal),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Class::Multicast),
        ] {
            check(first, Some(expect));
            check(last, Some(expect));
        }
        for public in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "168.63.129.15",
            "2001:200::",
            "2001:db7:ffff::",
            "2001:db9::",
            "2003::",
            "2a00:1450::1",
            "3ffe:ffff::",
            "3fff:1000::",
            "2606:4700::5efe:1",
        ] {
            check(public, None);
        }
    }

    #[test]
    fn names_single_addresses_and_what_carries_another_address() {
        for (text, expect) in [
            ("169.254.169.254", Class::Metadata),
            ("168.63.129.16", Class::Metadata),
            ("100.100.100.200", Class::Metadata),
            ("fd00:ec2::254", Class::Metadata),
            ("255.255.255.255", Class::Broadcast),
            ("::", Class::Unspecified),
            ("::1", Class::Loopback),
            ("::127.0.0.1", Class::Compatible),
            ("::ffff:127.0.0.1", Class::Mapped),
            ("::ffff:8.8.8.8", Class::Mapped),
            ("::ffff:0:127.0.0.1", Class::Mapped),
            ("64:ff9b::10.0.0.1", Class::Nat64),
            ("2002:7f00:1::", Class::SixToFour),
            ("2a00:1450::5efe:10.0.0.1", Class::Isatap),
            ("2a00:1450::200:5efe:10.0.0.1", Class::Isatap),
            ("fe80::5efe:10.0.0.1", Class::LinkLocal),
            ("100::1", Class::Reserved),
            ("4000::1", Class::Reserved),
            ("5f00::1", Class::Reserved),
        ] {
            check(text, Some(expect));
        }
    }

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let kinds: std::collections::BTreeMap<String, Class> = V4
            .iter()
            .map(|b| b.2)
            .chain(V6.iter().map(|b| b.2))
            .chain([Class::Isatap])
            .map(|c| (c.to_string(), c))
            .collect();
        assert_eq!(kinds.len(), 19, "{kinds:?}");
        assert!(kinds.keys().all(|name| name.starts_with('a')), "{kinds:?}");
        assert_eq!(Class::Metadata.to_string(), "a cloud's metadata service");
        assert_eq!(Class::Private.to_string(), "a private address");
    }

    #[test]
    fn one_network_of_the_operator_is_no_leave_for_the_rest() {
        let refused = |reach: Reach, text: &str| reach.refuses(text.parse().unwrap()).is_some();
        for own in ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd12::1", "100.64.0.1"] {
            assert!(refused(Reach::Public, own) && !refused(Reach::Private, own) && !refused(Reach::Any, own), "{own}");
        }
        for never in ["169.254.169.254", "fd00:ec2::254", "fe80::1", "::ffff:10.0.0.1", "0.0.0.0", "224.0.0.1"] {
            assert!(refused(Reach::Public, never) && refused(Reach::Private, never), "{never}");
        }
        assert!(!refused(Reach::Public, "1.1.1.1"));
    }
}
