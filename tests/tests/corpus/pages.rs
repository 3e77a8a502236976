//! What a hostile storefront sends to browsers, and what of it arrives.

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::node::{Running, TestNode};
use fondaco_tests::visitor::Visitor;

use crate::Outcome;
use crate::guests::{SHOP, choose, node};

fn shop() -> Result<(TestNode, Running, Visitor)> {
    let node = node()?;
    choose(&node, "storefront", &format!("\"{SHOP}\""))?;
    let running = node.deployment.up()?;
    let visitor = Visitor::new(&running.url);
    Ok((node, running, visitor))
}

pub fn headers_overridden() -> Result<Outcome> {
    let (_node, _running, mut visitor) = shop()?;
    let answer = visitor.get("/overrides")?;
    ensure!(answer.status == 200 && answer.text() == "page", "{answer:?}");
    let values = [
        "__Host-fondaco=stolen; Path=/; Secure",
        "default-src * 'unsafe-inline'",
        "default-src *; report-uri https://evil.example",
        "ALLOWALL",
        "sniff",
        "unsafe-url",
        "max-age=0",
        "/",
        "*",
        "\"*\"",
        "0; url=https://evil.example",
        "h2=\"evil.example:443\"",
        "logged-in",
        "/etc/passwd",
    ];
    let through: Vec<&str> =
        values.into_iter().filter(|v| answer.headers.iter().any(|(_, value)| value == v)).collect();
    for (name, value) in
        [("x-frame-options", "DENY"), ("x-content-type-options", "nosniff"), ("referrer-policy", "same-origin")]
    {
        ensure!(answer.header(name) == Some(value), "{name}: {:?}", answer.header(name));
    }
    Ok(Outcome::Harmless(format!("{} of {} got through: {through:?}", through.len(), values.len())))
}

pub fn script_in_a_page() -> Result<Outcome> {
    let (_node, _running, mut visitor) = shop()?;
    let answer = visitor.get("/script")?;
    let policy = answer.header("content-security-policy").unwrap_or_default().to_owned();
    ensure!(answer.text().contains("<script>"), "this is no test of the policy");
    ensure!(
        policy.contains("script-src 'self'")
            && policy.contains("frame-ancestors 'none'")
            && policy.contains("base-uri 'none'"),
        "{policy}"
    );
    ensure!(policy.contains("form-action 'self'") && policy.contains("connect-src 'self'"), "{policy}");
    let inline = if policy.contains("unsafe-inline") || policy.contains("nonce") {
        "inline scripts"
    } else {
        "no unsafe-inline"
    };
    Ok(Outcome::Harmless(format!("{policy}; {inline}")))
}

pub fn redirect_off_the_site() -> Result<Outcome> {
    let (_node, _running, mut visitor) = shop()?;
    let targets = [
        "https://evil.example/",
        "http://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "///evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        "/%09/evil.example\t/",
        "https:evil.example",
        "",
    ];
    let mut through = Vec::new();
    for target in targets {
        let answer = visitor.get(&format!("/away?to={}", fondaco_tests::http::encode(target)))?;
        if answer.header("location").is_some() || answer.status == 303 {
            through.push(format!("{target}: {} {:?}", answer.status, answer.header("location")));
        }
    }
    // One that stays here does lead there.
    let here = visitor.get("/away?to=%2Fhonest")?;
    ensure!(here.header("location") == Some("/honest"), "{here:?}");
    Ok(Outcome::Harmless(format!("{} of {} got through {through:?}", through.len(), targets.len())))
}

pub fn status_that_is_no_answer() -> Result<Outcome> {
    let (_node, _running, mut visitor) = shop()?;
    let answer = visitor.get("/early")?;
    ensure!(answer.status == 502, "{}", answer.status);
    ensure!(visitor.get("/honest")?.text() == "/honest", "the next page does not come");
    Ok(Outcome::Harmless("502, no answer of its own".into()))
}

/// The page fails with a problem, the next one comes, and the log has the sentence.
fn failing(path: &str) -> Result<Outcome> {
    let (_node, running, mut visitor) = shop()?;
    let answer = visitor.get(path)?;
    ensure!(answer.status == 503, "{path} answers {}", answer.status);
    ensure!(answer.header("content-type") == Some("application/problem+json"), "{answer:?}");
    ensure!(!answer.text().contains("wasm"), "the visitor is told what the operator is: {}", answer.text());
    ensure!(visitor.get("/honest")?.text() == "/honest", "the next page does not come");
    ensure!(visitor.get("/healthz")?.status == 200, "the node is not well");
    let log = running.log()?;
    let line = log.lines().rev().find(|l| l.contains("the storefront failed")).context("nothing is logged")?;
    let (_, sentence) = line.split_once("error=").context(line.to_owned())?;
    Ok(Outcome::Stopped(sentence.to_owned()))
}

pub fn page_without_end() -> Result<Outcome> {
    failing("/endless-page")
}
pub fn page_too_long() -> Result<Outcome> {
    failing("/long-page")
}
pub fn page_that_loops() -> Result<Outcome> {
    failing("/spin")
}
pub fn page_that_panics() -> Result<Outcome> {
    failing("/panic")
}

pub fn page_for_another_session() -> Result<Outcome> {
    let (_node, running, mut victim) = shop()?;
    let handle = victim.page("/whoami")?;
    ensure!(handle.len() >= 16 && victim.page("/whoami")? == handle, "no session: {handle}");
    let mut other = Visitor::new(&running.url);
    ensure!(other.page("/whoami")? != handle, "two visitors with one session");
    let said = other.page(&format!("/session?of={}", fondaco_tests::http::encode(&handle)))?;
    ensure!(said.matches("this is not the visitor's session").count() == 2, "{said}");
    Ok(Outcome::Harmless(said))
}

pub fn page_of_one_that_is_promised_to_all() -> Result<Outcome> {
    let (_node, running, mut victim) = shop()?;
    let handle = victim.page("/whoami")?;
    let first = victim.page("/promised")?;
    ensure!(first.contains(&handle), "the first answer is the victim's own: {first}");
    let host = running.url.trim_start_matches("http://");
    let headers = [("accept-language", "en"), ("user-agent", "Curious/1.0")];
    let mut said = String::new();
    for _ in 0..5 {
        let answer = fondaco_tests::http::send(host, "GET", "/promised", &headers, b"")?;
        said = answer.text();
        ensure!(answer.status == 200 && !said.contains(&handle), "{answer:?}");
        ensure!(answer.header("fondaco-page").is_none(), "the promise is between storefront and node: {answer:?}");
    }
    ensure!(victim.page("/promised")? == said, "the copy is everybody's");
    Ok(Outcome::Harmless(said))
}

pub fn page_that_reads_cookies() -> Result<Outcome> {
    let (_node, running, mut visitor) = shop()?;
    visitor.page("/honest")?;
    let host = running.url.trim_start_matches("http://");
    let headers = [("cookie", "__Host-fondaco=secret; fondaco=secret"), ("authorization", "Bearer secret")];
    let answer = fondaco_tests::http::send(host, "GET", "/cookie", &headers, b"")?;
    Ok(Outcome::Harmless(answer.text()))
}
