use super::*;

#[test]
fn reads_origins_in_one_form_only() {
    for (text, read) in [
        ("https://api.pay.example", "https://api.pay.example"),
        ("https://a:443", "https://a"),
        ("http://a:443", "http://a:443"),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://[::1]", "https://[::1]"),
    ] {
        assert_eq!(text.parse::<Origin>().map(String::from), Ok(read.to_owned()));
    }
    for bad in [
        "a.example",
        "ftp://a",
        "https://",
        "https://A",
        "https://a/",
        "https://a/b",
        "https://u@a",
        "https://a:0",
        "https://a:+1",
        "https://a:65536",
        "https://a:",
        "https://*.a",
        "https://a..b",
        "https://-a",
        "https://a?",
        "https://a#",
        "https://é",
        "https://[::1",
        "https://[::1]x",
        "https://[0::1]",
        "https://1.2.3",
        "https://0x7f.1",
        "https://2130706433",
        "https://127.0.0.01",
        "https://a:1:2",
        "https://a ",
        "HTTPS://a",
    ] {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
}

#[test]
fn an_origin_is_taken_apart_as_it_was_read() {
    for (text, host, port) in [
        ("https://a.example", HostName::Name("a.example"), 443),
        ("http://a.example", HostName::Name("a.example"), 80),
        ("http://a.example:443", HostName::Name("a.example"), 443),
        ("https://127.0.0.1:8443", HostName::Address([127, 0, 0, 1].into()), 8443),
        ("https://[::1]", HostName::Address(Ipv6Addr::LOCALHOST.into()), 443),
        ("https://[2001:db8::7]:81", HostName::Address("2001:db8::7".parse().unwrap()), 81),
    ] {
        let origin: Origin = text.parse().unwrap();
        assert_eq!((origin.host(), origin.port()), (host, port), "{text}");
        assert_eq!(text.split_once("://").unwrap().1, origin.authority());
    }
}

fn hosts(text: &str) -> Hosts {
    text.parse().unwrap()
}

#[test]
fn a_wildcard_stands_for_names_below_a_domain_and_for_nothing_else() {
    let check = |pattern: &str, origin: &str| hosts(pattern).contain(&origin.parse().unwrap());
    assert!(check("https://*.shop.example", "https://a.shop.example"));
    assert!(check("https://*.shop.example", "https://a.b.shop.example"));
    for other in [
        "https://shop.example",
        "https://ashop.example",
        "http://a.shop.example",
        "https://a.shop.example:8443",
        "https://shop.example.evil",
        "https://a.shop.example.evil",
        "https://127.0.0.1",
    ] {
        assert!(!check("https://*.shop.example", other), "{other}");
    }
    assert!(check("https://a.example", "https://a.example") && !check("https://a.example", "https://b.a.example"));
    assert!(check("https://*.shop.example:8443", "https://a.shop.example:8443"));
    for bad in [
        "https://*.org",
        "https://*",
        "https://*.",
        "https://a.*.example.org",
        "https://*a.example.org",
        "https://*.*.example.org",
        "https://*.127.0.0.1",
        "https://*.[::1]",
        "*.example.org",
    ] {
        assert!(bad.parse::<Hosts>().is_err(), "{bad}");
    }
    assert!("https://*.org".parse::<Hosts>().unwrap_err().to_string().contains("at least two labels"));
    for text in ["https://*.shop.example", "http://*.shop.example:81", "https://a.example"] {
        assert_eq!(hosts(text).to_string(), text);
    }
}

#[test]
fn what_two_patterns_share_is_the_narrower_one() {
    let both = |a: &str, b: &str| hosts(a).both(&hosts(b)).map(ToString::to_string);
    assert_eq!(both("https://*.a.example", "https://x.a.example").as_deref(), Some("https://x.a.example"));
    assert_eq!(both("https://x.a.example", "https://*.a.example").as_deref(), Some("https://x.a.example"));
    assert_eq!(both("https://*.a.example", "https://*.b.a.example").as_deref(), Some("https://*.b.a.example"));
    assert_eq!(both("https://*.a.example", "https://*.a.example").as_deref(), Some("https://*.a.example"));
    assert_eq!(both("https://*.a.example", "https://*.b.example"), None);
    assert_eq!(both("https://*.a.example", "https://a.example"), None);
}
