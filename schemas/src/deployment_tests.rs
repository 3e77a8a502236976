use super::*;
use crate::Capability;

pub(crate) const FULL: &str = r##"[brand]
name = "Night Owl"
tagline = "Records after dark"
locale = "en"
locales = ["en", "fr-CA"]
base-url = "https://shop.example.org"
contact = "hello@example.org"
logo = "logo.svg"
[brand.colors]
accent = "#a33"
ink = "oklch(20% 0.02 260)"
[gateway]
listen = "127.0.0.1:9000"
[gateway.limits]
connections = 10
connections-per-address = 5
headers = "16KiB"
body = "2MiB"
header-time = "5s"
body-time = "20s"
stall = "45s"
idle = "1min"
[storage]
dir = "data"
quota = "10GiB"
[outbound]
authorities = ["ca.pem"]
[database]
file = "ledger.db"
[publisher]
name = "Night Owl Records"
key = "keys/publisher.pem"
[runtime]
memory = "512MiB"
[network]
enabled = true
listen = ["/ip4/0.0.0.0/udp/4001/quic-v1"]
announce = ["/dns/shop.example.org/udp/4001/quic-v1"]
bootstrap = []
role = "leaf"
relays = []
mdns = true
allow = []
authority = "0101010101010101010101010101010101010101010101010101010101010101"
membership = "membership.token"
trusted = []
private-web-seeds = true
cache = "2GiB"
[network.relay]
reservations = 8
circuits = 4
circuit-bytes = "1MiB"
circuit-time = "30s"
[network.search]
answers = true
rate = 2
ask = "everyone"
peers = 16
[network.receipts]
give = true
take = true
[network.limits]
connections = 100
connections-per-address = 4
memory = "512MiB"
uploads = 8
streams-per-peer = 4
upload-rate = "2MiB"
[[network.limits.schedule]]
from = "08:00"
to = "20:00"
upload-rate = "1MiB"
[shop]
storefront = "org.nightowl.shelf"
search = ["org.fondaco.search-index"]
payments = []
advocacy = []
[plugins."org.nightowl.shelf"]
version = "^1.4"
enabled = false
grant = ["catalogue", "commerce"]
[plugins."org.nightowl.shelf".settings]
columns = 3
[plugins."org.nightowl.shelf".secrets]
token = "env:SHELF_TOKEN"
[plugins."org.nightowl.shelf".limits]
memory = "64MiB"
deadline = "250ms"
wall = "10s"
host-calls = 500
concurrency = 4
keys = 1000
log = "64KiB"
rate.storage = 100
[plugins."org.fondaco.search-index".grant]
storage.quota = "100MiB"
http.hosts = ["https://search.example.org"]
http.allow-private = ["https://search.example.org"]
[registries.main]
url = "https://plugins.example.org/fondaco"
root = "07d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6"
root-version = 3
[registries.near-by]
url = "http://10.0.0.7:8000"
root = "07d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6"
private = true
[registries.shelf]
folder = "../registry"
root = "07d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6"
"##;

#[test]
fn reads_every_key() {
    let file = Deployment::parse(FULL).unwrap();
    assert_eq!(file.base_url(), "https://shop.example.org");
    assert_eq!(file.gateway.limits.header_time, Span::secs(5));
    assert_eq!(file.runtime.memory, ByteSize::mib(512));
    let shelf = &file.plugins["org.nightowl.shelf"];
    assert!(!shelf.enabled && shelf.grant.has(Capability::Commerce) && !shelf.grant.has(Capability::Storage));
    assert_eq!(shelf.settings["columns"], 3);
    assert_eq!(shelf.secrets["token"], SecretRef::Env("SHELF_TOKEN".into()));
    assert_eq!((shelf.limits.concurrency, shelf.limits.rate[&Capability::Storage]), (Some(4), 100));
    let search = &file.plugins["org.fondaco.search-index"];
    assert!(search.enabled && search.version == semver::VersionReq::STAR);
    assert_eq!(search.grant.0[&Capability::Storage].quota, Some(ByteSize::mib(100)));
    assert_eq!(search.grant.0[&Capability::Http].hosts.len(), 1);
}

#[test]
fn registries_have_one_place_and_a_root() {
    let file = Deployment::parse(FULL).unwrap();
    let (main, shelf) = (&file.registries[&"main".parse().unwrap()], &file.registries[&"shelf".parse().unwrap()]);
    assert_eq!((main.root_version, shelf.root_version, main.private), (3, 1, false));
    assert_eq!(shelf.folder.as_deref(), Some("../registry"));
    let check = |entry: &str, words: &str| {
        let text = format!("[brand]\nname = \"Owl\"\n{entry}");
        let refused = Deployment::parse(&text).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    };
    let root = "root = \"07d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6\"";
    check(&format!("[registries.a]\n{root}"), "a registry needs url or folder");
    check(&format!("[registries.a]\nurl = \"https://a.example\"\nfolder = \"b\"\n{root}"), "either url or folder");
    check(&format!("[registries.a]\nurl = \"http://a.example\"\n{root}"), "plain http is for private networks");
    check("[registries.a]\nfolder = \"b\"", "\"registries.a.root\" is missing");
    check("[registries.a]\nfolder = \"b\"\nroot = \"12\"", "64 hexadecimal digits");
    check(&format!("[registries.\"../a\"]\nfolder = \"b\"\n{root}"), "names no registry");
    for name in ["", "A", "1a", "a_b", "-a", &"a".repeat(41)] {
        assert!(name.parse::<crate::RegistryName>().is_err(), "{name}");
    }
}

#[test]
fn little_needs_to_be_said() {
    let file = Deployment::parse("[brand]\nname = \"Night Owl\"\n").unwrap();
    assert_eq!(file.gateway.listen.to_string(), "127.0.0.1:8080", "loopback, unless the operator says else");
    assert_eq!(file.base_url(), "http://127.0.0.1:8080");
    assert_eq!(file.storage.dir, "data");
    assert_eq!(file.runtime.memory, ByteSize::mib(256));
    assert_eq!(file.brand.locales, [file.brand.locale]);
}

#[test]
fn a_broken_file_lists_every_mistake_with_line_and_column() {
    let text = "[brand]\nnmae = \"Night Owl\"\nlocale = \"english, please\"\ncolors.accent = \"red;}\"\n\
                [gateway]\nlisten = \"localhost\"\nlimits.connections = -1\n[storage]\nquota = 10\n\
                [shop]\nstorefront = \"org.nightowl.shlef\"\n[plugins.\"org.nightowl.shelf\"]\nversion = \"one\"\n\
                enabled = \"yes\"\ngrant = [\"storrage\"]\nsecrets.token = \"hunter2\"\n[plugin]\n";
    let refused = Deployment::parse(text).unwrap_err();
    let shown = refused.to_string();
    assert_eq!(
        refused.list.iter().map(|p| (p.line, p.column)).collect::<Vec<_>>(),
        [
            (1, 1),
            (2, 1),
            (3, 10),
            (4, 17),
            (6, 10),
            (7, 22),
            (9, 9),
            (11, 14),
            (13, 11),
            (14, 11),
            (15, 10),
            (16, 17),
            (17, 2)
        ],
        "{shown}"
    );
    for words in [
        "fondaco.toml:2:1: unknown key \"nmae\" in [brand]: did you mean \"name\"?",
        "storage.quota must be a text in quotes, and is another number",
        "did you mean \"org.nightowl.shelf\"?",
        "did you mean \"storage\"?",
        "unknown key \"plugin\": did you mean \"plugins\"?",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
    assert!(!shown.contains("hunter2"), "a secret that was written into the file is not repeated");
}

#[test]
fn an_empty_file_says_what_is_missing() {
    assert_eq!(
        Deployment::parse("").unwrap_err().to_string(),
        "fondaco.toml:1:1: [brand] is missing: give the shop a name"
    );
}

#[test]
fn refuses_addresses_and_colours_that_could_break_out_of_a_page() {
    for bad in [
        "https://a/",
        "https://a?b",
        "https://a/b/",
        "https://a/\"",
        "javascript:1",
        "https://A",
        "//a",
        "https://a/<b>",
        "https://",
    ] {
        assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
    }
    assert!("http://localhost:8080/shop".parse::<BaseUrl>().is_ok());
    for bad in ["", "#12", "#ggg", "red;", "url(\"x\")", "a:b", "}", "é"] {
        assert!(bad.parse::<Color>().is_err(), "{bad}");
    }
}
