//! A storefront that fails again and again on a running node: its visitors get a plain page, everything else goes on, and
//! the operator sees what happened, in numbers that the Prometheus client library reads, too.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::node::TestNode;
use fondaco_tests::{bundles, http, program, tools, workspace};
use serde_json::Value;

const ID: &str = "org.fondaco.hostile-shop";
const MANIFEST: &str = "schema = 1\nid = \"org.fondaco.hostile-shop\"\nversion = \"1.0.0\"\nkind = \"storefront\"\n\
    api = \"^0.1\"\ncomponent = \"plugin.wasm\"\nlicense = \"MIT\"\n[text.en]\nname = \"Hostile\"\nsummary = \"Fails\"\n[capabilities.commerce]\n";

/// The hostile storefront as a bundle that the node trusts.
fn bundle(node: &TestNode) -> Result<std::path::PathBuf> {
    let mut build = workspace::cargo();
    build.current_dir(workspace::root());
    build.args(["build", "--quiet", "--profile", "plugin", "--target", workspace::TARGET, "-p", "hostile-shop"]);
    program::answer(&mut build)?;
    let folder = node.path("hostile");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("plugin.toml"), MANIFEST)?;
    let library = workspace::target()?.join(workspace::TARGET).join("plugin/hostile_shop.wasm");
    let mut pack = bundles::tool()?;
    pack.args(["--json", "pack", "--released", bundles::RELEASED, "--path"]).arg(&folder).arg("--out").arg(&folder);
    pack.arg("--component").arg(library).arg("--key").arg(&node.key.file);
    let answer: Value = serde_json::from_str(&program::answer(&mut pack)?)?;
    Ok(bundles::text(&answer, "bundle")?.into())
}

#[test]
fn a_storefront_that_fails_again_and_again_is_left_alone_until_the_operator_says_so() -> Result<()> {
    let node = TestNode::bare()?;
    node.deployment.install(&bundle(&node)?)?;
    let about = "slug = \"free\"\nkind = \"other\"\ntitle = \"Free\"\nlicense = \"CC0-1.0\"\n\
                 [[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n";
    node.deployment.publish(&node.work("free", about, &[("a.txt", b"still here")])?)?;
    let works = node.deployment.json(&["works"])?;
    let hash = works.first().and_then(|w| w.pointer("/files/0/hash")).and_then(Value::as_str).context("no hash")?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://").to_owned();
    let get = |target: &str, accept: &str| http::send(&host, "GET", target, &[("accept", accept)], b"");

    assert_eq!(get("/honest", "text/html")?.status, 200);
    for n in 0..5 {
        let failed = get("/panic", "text/html")?;
        assert_eq!((n, failed.status), (n, 503));
    }
    // From here on it is not even tried: a page that would work is closed, too.
    let closed = get("/honest", "text/html,*/*;q=0.1")?;
    assert_eq!((closed.status, closed.header("content-type")), (503, Some("text/html; charset=utf-8")));
    let page = closed.text();
    ensure!(page.contains("<h1>Test Shop</h1>") && page.contains("/theme/tokens.css"), "{page}");
    let again: u64 = closed.header("retry-after").context("no retry-after")?.parse()?;
    ensure!((30..=60).contains(&again), "{again}");
    let problem = get("/honest", "application/json")?;
    assert_eq!((problem.status, problem.header("content-type")), (503, Some("application/problem+json")));
    // What is not the storefront's goes on.
    assert_eq!(get("/healthz", "*/*")?.status, 200);
    assert_eq!(get(&format!("/files/{hash}/a.txt"), "*/*")?.body, b"still here");
    assert_eq!(http::send(&host, "POST", "/webhooks/nobody", &[], b"x")?.status, 404);

    let metrics = read_metrics(&get("/metrics", "text/plain")?.text())?;
    let value = |name: &str, label: &str, is: &str| {
        let found = metrics.iter().find(|s| s["name"] == name && s["labels"][label] == is);
        found.and_then(|s| s["value"].as_f64()).with_context(|| format!("no {name} with {label} {is}"))
    };
    assert!(value("fondaco_plugin_calls_total", "outcome", "trap")? >= 5.0);
    assert!(value("fondaco_plugin_calls_total", "outcome", "unavailable")? >= 2.0);
    assert!(value("fondaco_plugin_kills_total", "reason", "trap")? >= 5.0);
    assert!(value("fondaco_plugin_call_seconds_count", "function", "handle")? >= 6.0);
    assert!(value("fondaco_plugin_breaker_state", "plugin", ID)? >= 2.0);
    assert!(value("fondaco_plugin_breaker_openings_total", "plugin", ID)? >= 1.0);
    assert!(value("fondaco_plugin_peak_memory_bytes", "plugin", ID)? > 65_536.0);

    let trail = node.deployment.json(&["plugin", "audit", ID])?;
    let incident = trail.iter().find(|e| e["act"] == "incidents").context("the kills are not in the audit trail")?;
    assert_eq!((&incident["killed"]["trap"], &incident["openings"]), (&5.into(), &1.into()), "{incident}");
    ensure!(trail.iter().any(|e| e["act"] == "installed") && trail.iter().any(|e| e["act"] == "granted"), "{trail:?}");

    node.deployment.ok(&["plugin", "enable", ID])?;
    assert_eq!(get("/honest", "text/html")?.status, 200, "started anew by the operator");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

/// The samples, as PyPI `prometheus-client` reads them; it also checks that histograms add up.
fn read_metrics(text: &str) -> Result<Vec<Value>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), text)?;
    let script = workspace::root().join("tests/python/metrics.py");
    let lines = program::answer(Command::new(tools::python()?).arg(script).arg(file.path()))?;
    lines.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}
