//! Good bundles, and whoever judges them.

use std::collections::BTreeMap;

use fondaco_schemas::manifest::{MANIFEST_FILE, SIGNATURE_FILE};
use fondaco_schemas::{BundlePath, Manifest, PluginId};
use fondaco_trust::{
    Bundle, Envelope, Host, KeyPair, Refusal, TrustStore, Verified, pack, prepare, sign_bundle, verify,
};
use semver::Version;
use time::OffsetDateTime;
use time::macros::datetime;

pub type Files = BTreeMap<BundlePath, Vec<u8>>;

pub const NOW: OffsetDateTime = datetime!(2030-01-31 12:00 UTC);
pub const BLOCK: usize = 512;

pub const REQUEST: &str = "schema = 1\nid = \"org.nightowl.shelf\"\nversion = \"1.4.0\"\nkind = \"storefront\"\napi = \"^0.1\"\n\
    component = \"plugin.wasm\"\nlicense = \"MIT\"\n[text.en]\nname = \"Shelf\"\nsummary = \"A shop window\"\n\
    [capabilities.catalogue]\nreason = \"shows works\"\n[capabilities.storage]\nquota = \"16MiB\"\n\
    [limits]\nmemory = \"64MiB\"\ndeadline = \"250ms\"\nwall = \"10s\"\n";

/// A key by its number.
pub fn key(n: u8) -> KeyPair {
    KeyPair::from_seed(&[n; 32]).unwrap()
}

/// The good bundles that are spoiled, and the trust store that accepts them: a publisher with key 1, and one with the
/// keys 2 and 3, who must both sign.
pub struct Scene {
    pub bundles: Vec<Vec<u8>>,
    pub trust: TrustStore,
    pub host: Host,
}

impl Scene {
    pub fn new() -> Self {
        let scene = Self {
            bundles: vec![bundle(REQUEST, &[1]), bundle(&REQUEST.replace("1.4.0", "2.0.0-rc.1"), &[2, 3])],
            trust: trust(|text| text),
            host: Host { api: vec![Version::new(0, 1, 0)], now: NOW },
        };
        for good in &scene.bundles {
            scene.judge(good.clone()).expect("what is spoiled was good before");
        }
        scene
    }

    pub fn judge(&self, bytes: Vec<u8>) -> Result<Verified, Refusal> {
        verify(bytes, &self.trust, &self.host, |_: &PluginId| None)
    }
}

/// A trust file, as it stands or changed.
pub fn trust_text() -> String {
    let publisher = |name: &str, threshold: u32, keys: &[u8]| {
        let entry = |n: &u8| format!("[[publishers.keys]]\nkey = \"{}\"\n# end of {n}\n", key(*n).public());
        let keys: String = keys.iter().map(entry).collect();
        format!(
            "[[publishers]]\nname = \"{name}\"\nprefixes = [\"org.nightowl\"]\nkinds = [\"storefront\", \"search\"]\n\
             threshold = {threshold}\n{keys}"
        )
    };
    format!("serial = 1\n{}{}", publisher("Night Owl", 1, &[1]), publisher("Two Owls", 2, &[2, 3]))
}

pub fn trust(change: impl Fn(String) -> String) -> TrustStore {
    TrustStore::parse(&change(trust_text()), None).unwrap()
}

fn contents() -> Files {
    [("plugin.wasm", &b"\0asm\x0d\0\x01\0"[..]), ("assets/a.txt", b"hello"), ("assets/b.bin", &[7; 700])]
        .map(|(path, bytes)| (path.parse().unwrap(), bytes.to_vec()))
        .into()
}

/// A bundle that nobody has signed.
pub fn unsigned(request: &str) -> Vec<u8> {
    let manifest = Manifest::parse_request(request).unwrap();
    prepare(manifest, contents(), NOW, Some("rustc 1.95.0".into())).unwrap()
}

/// A bundle that these keys signed.
pub fn bundle(request: &str, keys: &[u8]) -> Vec<u8> {
    keys.iter().fold(unsigned(request), |bytes, n| sign_bundle(bytes, &key(*n)).unwrap())
}

/// A bundle's files.
pub fn files(bytes: &[u8]) -> Files {
    let bundle = Bundle::parse(bytes.to_vec()).unwrap();
    bundle.paths().map(|p| (p.clone(), bundle.get(p.as_str()).unwrap().to_vec())).collect()
}

/// The same bundle with other files in it.
pub fn altered(bytes: &[u8], change: impl FnOnce(&mut Files)) -> Vec<u8> {
    let mut files = files(bytes);
    change(&mut files);
    pack(&files).unwrap()
}

pub fn path(text: &str) -> BundlePath {
    text.parse().unwrap()
}

/// The manifest's text.
pub fn manifest(bytes: &[u8]) -> String {
    String::from_utf8(files(bytes)[MANIFEST_FILE].clone()).unwrap()
}

/// A bundle whose manifest says something else and is properly signed by key 1.
pub fn with_manifest(bytes: Vec<u8>) -> Vec<u8> {
    let unsigned = altered(&unsigned(REQUEST), |files| drop(files.insert(path(MANIFEST_FILE), bytes.clone())));
    let mut envelope = Envelope::new(fondaco_trust::dsse::MANIFEST_TYPE, bytes);
    envelope.sign(&key(1));
    with_envelope(&unsigned, envelope.to_json().unwrap())
}

/// A bundle with another signature file.
pub fn with_envelope(bytes: &[u8], json: String) -> Vec<u8> {
    altered(bytes, |files| drop(files.insert(path(SIGNATURE_FILE), json.into_bytes())))
}

/// The text of a bundle's signature file.
pub fn envelope(bytes: &[u8]) -> String {
    String::from_utf8(files(bytes)[SIGNATURE_FILE].clone()).unwrap()
}

/// Numbers that look random and are the same each time (xorshift64*).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(high).unwrap() % sides
    }
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| u8::try_from(self.roll(256)).unwrap()).collect()
    }
}
