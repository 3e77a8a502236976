//! The first-party plugins before the conformance kit, as their authors run it. That the kit finds what is wrong is tested
//! where it lives (`sdk/kit/tests`).
use std::process::Command;

use serde_json::Value;

#[test]
fn every_first_party_plugin_passes_the_kit() {
    for plugin in ["search-index", "pay-voucher", "drm-sealed", "advocacy-letters", "storefront-shelf"] {
        let path = format!("{}/../../plugins/{plugin}", env!("CARGO_MANIFEST_DIR"));
        let output = Command::new(env!("CARGO_BIN_EXE_cargo-fondaco"))
            .args(["test", "--json", "--path", &path])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{plugin}: {e}: {words}"));
        let all = answer["checks"].as_array().unwrap_or_else(|| panic!("{plugin}: {answer}"));
        let failed: Vec<&Value> = all.iter().filter(|c| c["outcome"] == "failed").collect();
        assert!(failed.is_empty() && output.status.success(), "{plugin}: {failed:#?} {words}");
        assert!(answer["passed"].as_u64().unwrap() >= 10, "{plugin}: {answer:#}");
    }
}
