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
    let mut all = asked.all();
    all.0.get_mut(&Capability::Http).unwrap().quota = Some(DEFAULT_HTTP_QUOTA);
    assert_eq!(asked.effective(&asked.all()), all, "and a budget of bytes, where nobody says one");
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
fn http_is_granted_by_host_and_nothing_else_has_hosts() {
    assert!(mistakes("g = [\"http\"]").contains("granted by host"));
    assert!(mistakes("g.http = {}").contains("granted by host"));
    assert!(mistakes("c.http = {}").contains("needs the hosts"));
    assert!(mistakes("c.mail.hosts = [\"https://a\"]").contains("unknown key \"hosts\" in [c.mail]"));
    assert!(mistakes("g.mail.quota = \"1B\"").contains("unknown key \"quota\" in [g.mail]"));
    assert!(mistakes("c.storrage = {}").contains("did you mean \"storage\"?"));
    assert!(mistakes("g = [\"comerce\"]").contains("did you mean \"commerce\"?"));
}

#[test]
fn web_services_are_granted_by_host_on_the_operators_terms() {
    let asked = requested("c.http = { hosts = [\"https://*.shop.example\", \"https://pay.lan\"], quota = \"1MiB\" }");
    let all = asked.effective(&asked.all());
    let http = &all.0[&Capability::Http];
    assert_eq!(http.quota, Some(ByteSize::mib(1)));
    let narrowed = grants(
        "g.http = { hosts = [\"https://one.shop.example\", \"https://pay.lan\"], quota = \"2GiB\", \
         allow-private = [\"https://pay.lan\"] }",
    );
    assert_eq!(asked.missing(&narrowed), [], "a part of the wildcard is what the operator gives");
    let http = asked.effective(&narrowed).0.remove(&Capability::Http).unwrap();
    assert_eq!(http.hosts, ["https://one.shop.example".parse().unwrap(), "https://pay.lan".parse().unwrap()]);
    assert_eq!(http.quota, Some(ByteSize::mib(2 << 10)), "the operator's word holds");
    assert_eq!(http.allow_private, ["https://pay.lan".parse().unwrap()]);

    let again = asked.all().on_terms_of(&narrowed).0.remove(&Capability::Http).unwrap();
    assert_eq!((again.quota, again.allow_private.len()), (Some(ByteSize::mib(2 << 10)), 1));
    assert_eq!(again.hosts.len(), 2, "what is granted anew is what is asked for");

    let stray = mistakes("g.http = { hosts = [\"https://a.example\"], allow-private = [\"https://pay.lan\"] }");
    assert!(stray.contains("allow-private names https://pay.lan, which is not in hosts"), "{stray}");
    assert!(mistakes("g.http = { hosts = [\"https://*.org\"] }").contains("too wide"));
    assert_eq!(
        asked.canonical(),
        b"fondaco capabilities 1\nhttp 1048576 https://pay.lan https://*.shop.example\n",
        "a quota that is asked for is consented to"
    );
}

#[test]
fn what_was_asked_before_and_now_is_the_larger_of_both_and_the_operators_word_on_bytes() {
    let before = grants("g = { storage.quota = \"1MiB\", http = { hosts = [\"https://a\"], quota = \"2MiB\" } }");
    let now = grants(
        "g = { storage.quota = \"3MiB\", mail = {}, http = { hosts = [\"https://b\"], quota = \"9MiB\", allow-private = [\"https://b\"] } }",
    );
    let both = before.and(&now);
    assert_eq!(both.0[&Capability::Storage].quota, Some(ByteSize::mib(3)), "of storage the larger");
    assert_eq!(now.and(&before).0[&Capability::Storage].quota, Some(ByteSize::mib(3)), "from either side");
    assert_eq!(both.0[&Capability::Http].quota, Some(ByteSize::mib(2)), "of bytes of a day what was said here");
    let hosts: Vec<String> = both.0[&Capability::Http].hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["https://a", "https://b"]);
    assert_eq!(both.0[&Capability::Http].allow_private.len(), 1);
    assert!(both.has(Capability::Mail) && !both.has(Capability::Keys));
    let unsaid = grants("g = { http.hosts = [\"https://a\"] }");
    assert_eq!(unsaid.and(&now).0[&Capability::Http].quota, Some(ByteSize::mib(9)), "not said is not said");
}

#[test]
fn a_mistake_in_the_hosts_is_told_once() {
    for hosts in ["[\"ftp://a\"]", "\"https://a\""] {
        let told = mistakes(&format!("c.http.hosts = {hosts}\n"));
        assert_eq!(told.lines().filter(|l| l.contains("hosts")).count(), told.lines().count(), "{told}");
        assert!(!told.contains("http needs the hosts to be called"), "they were named, and wrongly: {told}");
    }
    assert!(mistakes("c.http = {}\n").contains("http needs the hosts to be called"));
}
