//! The kit finds what is wrong: a component that is sound passes every check of each kind, and with each fault that can be
//! switched on the check that is there for it fails, and says what to do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, and so may its helpers")]

use std::path::PathBuf;
use std::process::Command;

use fondaco_kit::{Options, Outcome, Report, Subject};
use fondaco_schemas::Manifest;

/// The component of `tests/guests/misfit`.
fn component() -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&root).args([
        "build",
        "--quiet",
        "--profile",
        "plugin",
        "--target",
        "wasm32-wasip2",
        "-p",
        "misfit",
    ]);
    assert!(
        cargo.status().unwrap().success(),
        "the guest does not build (rustup target add wasm32-wasip2 if the target is missing)"
    );
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    std::fs::read(target.join("wasm32-wasip2/plugin/misfit.wasm")).unwrap()
}

struct Tester {
    component: Vec<u8>,
    runtime: tokio::runtime::Runtime,
}

impl Tester {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Self { component: component(), runtime }
    }

    /// `asks`: capabilities and whether each is optional.
    fn report(&self, kind: &str, fault: &str, only: &str, change: impl Fn(String) -> String) -> Report {
        let asks = ["storage", "keys", "catalogue", "commerce"].map(|c| format!("[capabilities.{c}]\n")).concat();
        let text = format!(
            "schema = 1\nid = \"org.example.misfit\"\nversion = \"1.0.0\"\nkind = \"{kind}\"\napi = \"^0.2\"\ncomponent = \"plugin.wasm\"\n\
             license = \"MIT\"\n[text.en]\nname = \"Misfit\"\nsummary = \"x\"\n{asks}[capabilities.discovery]\noptional = true\n"
        );
        let subject = Subject {
            manifest: Manifest::parse_request(&change(text)).unwrap(),
            component: self.component.clone(),
            assets: [].into(),
            settings: format!("{{\"fault\":\"{fault}\"}}"),
            secrets: [].into(),
        };
        let options = Options {
            compiler: (env!("CARGO_BIN_EXE_fondaco-kit-compile").into(), vec![]),
            cache: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kit-cache"),
            cache_key: [7; 32],
            only: only.into(),
        };
        self.runtime.block_on(fondaco_kit::run(subject, &options)).unwrap()
    }
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|c| matches!(c.outcome, Outcome::Failed(_))).map(|c| c.name).collect()
}

/// With no fault all pass; with each of these the named check fails.
fn check(kind: &str, faults: &[(&str, &str)]) {
    let tester = Tester::new();
    let sound = tester.report(kind, "", "", |t| t);
    assert!(sound.is_passed(), "{}", sound.text());
    for (fault, check) in faults {
        let report = tester.report(kind, fault, check, |t| t);
        assert!(failed(&report).contains(check), "{fault} is not found by {check}:\n{}", report.text());
    }
}

#[test]
fn search() {
    check(
        "search",
        &[
            ("parameters", "search/parameters"),
            ("fed-twice", "search/fed-twice"),
            ("invents", "search/finds"),
            ("filters", "search/filters"),
            ("pages", "search/pages"),
            ("removes", "search/removes"),
            ("bids", "search/bids"),
            ("long-text", "search/wrong-input"),
            ("outage", "node/out-of-order"),
            ("full", "storage/full"),
            ("busy", "limits/deadline"),
            ("tool-lax", "operator/tools"),
            ("tool-summary", "operator/tools"),
        ],
    );
}

#[test]
fn payment() {
    check(
        "payment",
        &[
            ("assets", "payment/describes"),
            ("begin-twice", "payment/begin-twice"),
            ("sums", "payment/sums"),
            ("unknown", "payment/unknown"),
            ("webhook-looks", "payment/webhook"),
            ("webhook-believes", "payment/webhook"),
            ("give-back", "payment/give-back"),
            ("missing-field", "payment/wrong-input"),
        ],
    );
}

#[test]
fn drm() {
    check(
        "drm",
        &[
            ("no-words", "drm/describes"),
            ("round-trip", "drm/round-trip"),
            ("leaks", "drm/round-trip"),
            ("anybody", "drm/holder"),
            ("ended", "drm/ended"),
            ("forgets", "drm/ended"),
            ("unsealed", "drm/tampered"),
            ("device", "drm/wrong-input"),
        ],
    );
}

#[test]
fn advocacy() {
    check(
        "advocacy",
        &[
            ("sponsor", "advocacy/campaigns"),
            ("field-label", "advocacy/campaigns"),
            ("any-campaign", "advocacy/unknown"),
            ("required", "advocacy/unknown"),
            ("counts-twice", "advocacy/once"),
            ("leaks-names", "advocacy/once"),
            ("locale", "advocacy/wrong-input"),
        ],
    );
}

#[test]
fn storefront() {
    check(
        "storefront",
        &[
            ("front", "storefront/front-page"),
            ("dead-link", "storefront/links"),
            ("dead-file", "storefront/links"),
            ("strays", "storefront/links"),
            ("hides", "storefront/catalogue"),
            ("lang", "storefront/structure"),
            ("heading", "storefront/structure"),
            ("picture", "storefront/pictures"),
            ("label", "storefront/labels"),
            ("button", "storefront/without-scripts"),
            ("form-method", "storefront/without-scripts"),
            ("inline-style", "storefront/policy"),
            ("inline-script", "storefront/policy"),
            ("foreign", "storefront/policy"),
            ("css", "storefront/policy"),
            ("cookie", "storefront/headers"),
            ("powered-by", "storefront/headers"),
            ("shared", "storefront/headers"),
            ("escape", "storefront/escapes"),
            ("token", "storefront/forms"),
            ("two-orders", "storefront/forms"),
            ("soft-404", "storefront/not-found"),
            ("empty", "storefront/empty"),
            ("odd-path", "storefront/wrong-input"),
            ("outage", "node/out-of-order"),
            ("optional", "grants/optional"),
        ],
    );
}

#[test]
fn grants_that_are_missing_or_not_needed_are_named() {
    let tester = Tester::new();
    let report = tester.report("search", "", "", |t| t + "[capabilities.mail]\n");
    assert_eq!(failed(&report), ["grants/used"]);
    assert!(report.text().contains("take [capabilities.mail] out"), "{}", report.text());
    let report = tester.report("search", "", "", |t| t.replace("[capabilities.storage]\n", ""));
    assert_eq!(failed(&report), ["start"]);
    assert!(report.text().contains("[capabilities.storage]"), "{}", report.text());
}
