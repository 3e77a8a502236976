use super::*;

fn requested(toml: &str) -> Requested {
    crate::problem::read("t", toml, |t| Some(Requested::read(t, "c"))).unwrap()
}
fn grants(toml: &str) -> Grants {
    crate::problem::read("t", toml, |t| Some(Grants::read(t, "g"))).unwrap()
}
fn mistakes(toml: &str) -> String {
    let read = |t: &mut Table<'_>| Some((Requested::read(t, "c"), Grants::read(t, "g")));
    crate::problem::read("t", toml, read).unwrap_err().to_string()
}

#[test]
fn what_holds_is_what_both_request_and_grant_say() {
    let asked = requested(
        "c.storage.quota = \"20MiB\"\nc.mail = {}\nc.catalogue.optional = true\n\
         c.http.hosts = [\"https://a.example\", \"https://b.example\"]\n",
    );
    let granted = grants(
        "g = { storage.quota = \"1MiB\", keys = {}, http.hosts = [\"https://b.example\", \"https://c.example\"] }",
    );
    let holds = asked.effective(&granted);
    assert_eq!(holds.0.keys().map(|c| c.as_str()).collect::<Vec<_>>(), ["http", "storage"]);
    assert_eq!(holds.0[&Capability::Storage].quota, Some(ByteSize::mib(1)), "the lesser quota");
    assert_eq!(holds.0[&Capability::Http].hosts, ["https://b.example".parse().unwrap()]);
    let missing = asked.missing(&granted);
    assert_eq!(missing.iter().map(|m| m.capability.as_str()).collect::<Vec<_>>(), ["http", "mail"], "optional is not");
    assert_eq!(missing[0].line(), "grant.http.hosts = [\"https://a.example\", \"https://b.example\"]");
    assert_eq!(missing[1].to_string(), "mail is not granted: add `grant.mail = {}`");
    assert_eq!(asked.missing(&asked.all()), []);
    assert_eq!(asked.effective(&asked.all()), asked.all());
    assert_eq!(asked.effective(&grants("g = [\"storage\"]")).0[&Capability::Storage].quota, Some(ByteSize::mib(20)));
    assert!(!asked.effective(&grants("g.http.hosts = []")).has(Capability::Http), "nobody to call is no right to call");
}

#[test]
fn the_canonical_bytes_are_about_rights_only() {
    let a = requested("c.storage = {}\nc.http = { hosts = [\"https://b\", \"https://a\"], reason = \"x\" }\n");
    let b = requested(
        "c.http.hosts = [\"https://a:443\", \"https://b\"]\nc.storage = { quota = \"16MiB\", optional = true }\n",
    );
    assert_eq!(a.canonical(), b.canonical());
    assert_eq!(
        String::from_utf8(a.canonical()).unwrap(),
        "fondaco capabilities 1\nhttp https://a https://b\nstorage 16777216\n"
    );
    assert_ne!(a.canonical(), requested("c.storage = {}\n").canonical());
}

#[test]
fn each_capability_has_its_interface_and_each_interface_its_capability() {
    let wit = include_str!("../wit/host.wit");
    let interfaces = wit.lines().filter_map(|l| l.strip_prefix("interface ")?.strip_suffix(" {"));
    let mut gated: Vec<_> = interfaces
        .filter_map(|name| match gate(&format!("fondaco:plugin/{name}@0.1.0")) {
            Some(Gate::Needs(c)) => Some(c),
            Some(Gate::Open) => {
                assert_eq!(name, "settings");
                None
            }
            None => panic!("{name} has no gate"),
        })
        .collect();
    gated.push(Capability::Http);
    gated.sort();
    assert_eq!(gated, Capability::ALL);
    assert_eq!(gate("wasi:http/outgoing-handler@0.2.6"), Some(Gate::Needs(Capability::Http)));
    assert_eq!(gate("fondaco:plugin/payment-types@0.1.0"), Some(Gate::Open));
    for unknown in
        ["wasi:cli/stdout@0.2.6", "fondaco:plugin/http@0.1.0", "fondaco:plugin/shell@0.1.0", "other:plugin/storage", ""]
    {
        assert_eq!(gate(unknown), None, "{unknown}");
    }
}

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
fn http_is_granted_by_host_and_nothing_else_has_hosts() {
    assert!(mistakes("g = [\"http\"]").contains("granted by host"));
    assert!(mistakes("g.http = {}").contains("granted by host"));
    assert!(mistakes("c.http = {}").contains("needs the hosts"));
    assert!(mistakes("c.mail.hosts = [\"https://a\"]").contains("unknown key \"hosts\" in [c.mail]"));
    assert!(mistakes("g.mail.quota = \"1B\"").contains("unknown key \"quota\" in [g.mail]"));
    assert!(mistakes("c.storrage = {}").contains("did you mean \"storage\"?"));
    assert!(mistakes("g = [\"comerce\"]").contains("did you mean \"commerce\"?"));
}
