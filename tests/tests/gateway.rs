//! Visitors who take more than their share, and forms and cookies that are not what they say. Each is refused in the
//! gateway, before a plugin is asked, and everybody else is served as before.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::bundles;
use fondaco_tests::http::{self, Answer};
use fondaco_tests::node::{Running, TestNode};
use serde_json::Value;

/// How long a test waits for what must come at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running node without plugins, and with these limits.
fn up(limits: &str) -> Result<(TestNode, Running, String)> {
    let node = TestNode::bare()?;
    let file = node.deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file)?;
    fs::write(&file, format!("{text}\n[gateway.limits]\n{limits}"))?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://").to_owned();
    Ok((node, running, host))
}

fn get(host: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    http::send(host, "GET", "/healthz", headers, b"")
}

fn connect(host: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// All that the server says until it closes the connection; that it must close it is the point.
fn rest(stream: &mut TcpStream) -> Result<String> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(buffer.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => break,
            Err(e) => return Err(e).context("the connection was not closed"),
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

#[test]
fn requests_larger_than_the_limits_are_refused() -> Result<()> {
    let (_node, running, host) = up("headers = \"16 KiB\"\nbody = \"4 KiB\"\n")?;
    let padded = |bytes: usize| get(&host, &[("x-padding", &"x".repeat(bytes))]).map(|a| a.status);
    assert_eq!(padded(8 << 10)?, 200);
    assert_eq!(padded(32 << 10)?, 431);
    let many: Vec<(String, &str)> = (0..101).map(|n| (format!("x-{n}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(get(&host, many.get(..90).unwrap_or_default())?.status, 200);
    assert_eq!(get(&host, &many)?.status, 431);
    let long = format!("/?{}", "x".repeat(9 << 10));
    assert_eq!(http::send(&host, "GET", &long, &[], b"")?.status, 414);

    // A body that says how long it is, is not waited for; one that does not is read no further than the limit.
    let mut stream = connect(&host)?;
    write!(stream, "POST /buy HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 4097\r\n\r\n")?;
    let said = rest(&mut stream)?;
    ensure!(said.starts_with("HTTP/1.1 413 ") && said.contains("At most 4096 bytes"), "{said}");
    let mut stream = connect(&host)?;
    write!(stream, "POST /buy HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n")?;
    write!(stream, "1001\r\n{}\r\n", "x".repeat(0x1001))?;
    let said = rest(&mut stream)?;
    ensure!(said.starts_with("HTTP/1.1 413 "), "{said}");
    // One that fits is read, and refused for what it is.
    let fits = http::send(&host, "POST", "/buy", &[], &[b'x'; 4096])?;
    assert_eq!(fits.status, 403, "{}", fits.text());
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn visitors_who_dawdle_are_not_waited_for() -> Result<()> {
    let (_node, running, host) = up("header-time = \"1s\"\nidle = \"1s\"\nbody-time = \"1s\"\n")?;
    let begun = Instant::now();
    let mut heads = connect(&host)?;
    write!(heads, "GET /healthz HTTP/1.1\r\nhost: {host}\r\n")?;
    let mut silent = connect(&host)?;
    let mut kept = connect(&host)?;
    write!(kept, "GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n")?;
    let mut bodies = connect(&host)?;
    write!(bodies, "POST /buy HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 10\r\n\r\nx")?;
    assert_eq!(get(&host, &[])?.status, 200, "others are served meanwhile");
    for (what, stream, start) in [
        ("headers that do not end", &mut heads, ""),
        ("nothing at all", &mut silent, ""),
        ("a connection that is kept and not used", &mut kept, "HTTP/1.1 200 "),
        ("a body that does not end", &mut bodies, "HTTP/1.1 408 "),
    ] {
        let said = rest(stream).context(what)?;
        ensure!(said.starts_with(start) && !said.contains(" 500 "), "{what}: {said}");
    }
    ensure!(begun.elapsed() >= Duration::from_millis(900), "they were given their time");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

/// Opens so many connections that stay open, each having been answered once.
fn hold(host: &str, count: usize) -> Result<Vec<TcpStream>> {
    let one = |_| {
        let mut stream = connect(host)?;
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n")?;
        let mut first = [0; 12];
        stream.read_exact(&mut first).context("the connection was not let in")?;
        assert_eq!(&first, b"HTTP/1.1 200");
        Ok(stream)
    };
    (0..count).map(one).collect()
}

#[test]
fn connections_beyond_the_limits_are_closed_unanswered() -> Result<()> {
    for limits in ["connections-per-address = 3\n", "connections = 3\n"] {
        let (_node, running, host) = up(limits)?;
        let mut held = hold(&host, 3)?;
        let mut fourth = connect(&host)?;
        // It may be closed before the request is out.
        let _ = write!(fourth, "GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(
            rest(&mut fourth).or_else(|e| if fourth.peer_addr().is_err() { Ok(String::new()) } else { Err(e) })?,
            ""
        );
        drop(held.pop());
        let until = Instant::now() + PATIENCE;
        while get(&host, &[]).is_err() {
            ensure!(Instant::now() < until, "{limits}: the place of one that left is given to nobody");
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(held);
        assert_eq!(running.stop()?, 0);
    }
    Ok(())
}

#[test]
fn a_visitor_who_takes_nothing_gives_up_its_place() -> Result<()> {
    let (node, running, host) = up("connections = 1\nstall = \"2s\"\n")?;
    // More than the system keeps on the way between two sockets.
    let large = vec![7_u8; 64 << 20];
    let about = "slug = \"large\"\nkind = \"other\"\ntitle = \"Large\"\nlicense = \"CC0-1.0\"\n\
                 [[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n";
    let folder = node.work("large", about, &[("large.bin", large.as_slice())])?;
    node.deployment.ok(&["publish", folder.to_str().context("no UTF-8")?])?;
    let works = node.deployment.json(&["works"])?;
    let hash = works.first().and_then(|w| w.pointer("/files/0/hash")).and_then(Value::as_str);
    let target = format!("/files/{}/large.bin", hash.context("no file")?);

    let mut stalled = connect(&host)?;
    write!(stalled, "GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")?;
    let mut first = [0; 12];
    stalled.read_exact(&mut first)?;
    assert_eq!(&first, b"HTTP/1.1 200");
    // From here on it takes nothing. Two seconds are what it is given, and meanwhile nobody else is let in.
    ensure!(get(&host, &[]).is_err(), "there is one place");
    let begun = Instant::now();
    while get(&host, &[]).is_err() {
        ensure!(begun.elapsed() < PATIENCE, "it keeps its place");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(stalled);
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn one_cookie_for_this_host_that_no_script_reads() -> Result<()> {
    let (_node, running, host) = up("")?;
    let page = |cookie: Option<&str>| {
        let headers: Vec<(&str, &str)> = cookie.iter().map(|c| ("cookie", *c)).collect();
        http::send(&host, "GET", "/about", &headers, b"")
    };
    let first = page(None)?;
    let set = first.header("set-cookie").context("no cookie was set")?.to_owned();
    let (pair, attributes) = set.split_once("; ").context("no attributes")?;
    ensure!(pair.starts_with("__Host-fondaco="), "{set}");
    let attributes: Vec<&str> = attributes.split("; ").collect();
    for needed in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
        ensure!(attributes.contains(&needed), "{needed} is missing: {set}");
    }
    ensure!(!set.contains("Domain"), "{set}");
    assert_eq!(page(Some(pair))?.header("set-cookie"), None, "a cookie that is known is not set again");
    // What the node did not make, and what comes under another name, is nobody's.
    let (name, value) = pair.split_once('=').context("no value")?;
    let short = format!("{name}={}", value.get(..value.len() - 1).unwrap_or_default());
    for other in [short, format!("{name}={value}A"), format!("fondaco={value}"), format!("{name}=")] {
        let new = page(Some(&other))?.header("set-cookie").map(str::to_owned);
        ensure!(new.is_some_and(|new| !new.contains(value)), "{other}");
    }
    // Every page and every refusal is the visitor's own, and carries what browsers are to hold to.
    for (header, value) in
        [("cache-control", "no-store"), ("x-frame-options", "DENY"), ("x-content-type-options", "nosniff")]
    {
        ensure!(first.header(header).is_some_and(|found| found.contains(value)), "{header}: {first:?}");
    }
    let policy = first.header("content-security-policy").context("no policy")?;
    ensure!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn forms_that_did_not_come_from_a_page_of_the_shop_are_refused() -> Result<()> {
    let (_node, running, host) = up("")?;
    let first = http::send(&host, "GET", "/", &[], b"")?;
    let cookie = first.header("set-cookie").and_then(|c| c.split(';').next()).context("no cookie")?.to_owned();
    let own = ("cookie", cookie.as_str());
    for target in ["/buy", "/-/library-key", "/-/restore"] {
        for (what, headers, form, words) in [
            ("no session", vec![], "csrf=x", "token is missing or old"),
            ("no token", vec![own], "a=1", "token is missing or old"),
            ("another token", vec![own], "csrf=AAAAAAAA", "token is missing or old"),
            ("another site", vec![own, ("sec-fetch-site", "cross-site")], "csrf=x", "from another site"),
            ("another origin", vec![own, ("origin", "https://evil.example")], "csrf=x", "from another site"),
        ] {
            let refused = http::send(&host, "POST", target, &headers, form.as_bytes())?;
            assert_eq!(refused.status, 403, "{what}, {target}: {}", refused.text());
            ensure!(refused.text().contains(words), "{what}, {target}: {}", refused.text());
        }
    }
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_file_is_no_page() -> Result<()> {
    let (node, running, host) = up("")?;
    let about = "slug = \"page\"\nkind = \"other\"\ntitle = \"Page\"\nlicense = \"CC0-1.0\"\n\
                 [[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n";
    let files: [(&str, &[u8]); 2] = [("page.html", b"<script>alert(1)</script>"), ("song.mp3", b"la la la")];
    let folder = node.work("page", about, &files)?;
    node.deployment.ok(&["publish", folder.to_str().context("no UTF-8")?])?;
    let works = node.deployment.json(&["works"])?;
    let listed = works.first().and_then(|w| w.get("files")).and_then(Value::as_array).context("no files")?;
    for (path, kind, how) in
        [("page.html", "text/html; charset=utf-8", "attachment"), ("song.mp3", "audio/mpeg", "inline")]
    {
        let file = listed.iter().find(|f| f.get("path").and_then(Value::as_str) == Some(path)).context("not listed")?;
        let hash = bundles::text(file, "hash")?;
        let answer = http::send(&host, "GET", &format!("/files/{hash}/{path}"), &[], b"")?;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        for (name, value) in [
            ("content-type", kind.to_owned()),
            ("content-disposition", format!("{how}; filename=\"{path}\"")),
            ("etag", format!("\"{hash}\"")),
            ("accept-ranges", "bytes".to_owned()),
            ("cache-control", "public, max-age=31536000, immutable".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ] {
            assert_eq!(answer.header(name), Some(value.as_str()), "{path}: {name}");
        }
        let policy = answer.header("content-security-policy").context("no policy")?;
        ensure!(policy.contains("sandbox") && !policy.contains("script-src"), "{path}: {policy}");
        ensure!(answer.header("set-cookie").is_none(), "{path}: a file is the same for everybody");
    }
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_library_in_a_cookie_counts_under_the_nodes_own_tag_alone() -> Result<()> {
    let (_node, running, host) = up("")?;
    let set = |cookie: &str| -> Result<Option<String>> {
        let answer = http::send(&host, "GET", "/about", &[("cookie", cookie)], b"")?;
        Ok(answer.header("set-cookie").map(str::to_owned))
    };
    // 32 bytes alone are a visitor of their own; with a library's key and a tag behind them they are somebody's who brought
    // that library along, and the tag is the node's.
    assert_eq!(set(&format!("__Host-fondaco={}", "A".repeat(43)))?, None);
    let forged = set(&format!("__Host-fondaco={}", "A".repeat(128)))?;
    ensure!(forged.is_some_and(|new| !new.contains("AAAAAAAA")), "a library that nobody brought along counts");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn what_a_storefront_says_nothing_about_is_kept_by_no_cache() -> Result<()> {
    let node = TestNode::bare()?;
    let shop = bundles::PlainShop::build()?.pack("1.0.0", "", &node.path("made"), &node.key)?;
    node.deployment.install(&shop)?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://");
    let page = http::send(host, "GET", "/page", &[], b"")?;
    assert_eq!((page.status, page.text().as_str()), (200, "/page"));
    assert_eq!(page.header("cache-control"), Some("private, no-store"));
    ensure!(page.header("set-cookie").is_some(), "a page is its visitor's");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn what_is_the_same_for_everybody_carries_no_cookie_and_only_gateways_are_notified() -> Result<()> {
    let node = TestNode::new()?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://");
    let page = http::send(host, "GET", "/", &[], b"")?;
    ensure!(page.status == 200 && page.header("set-cookie").is_some(), "{}", page.status);
    let page = page.text();
    let (_, after) = page.split_once("\"/assets/shelf-").context("no style sheet")?;
    let style = format!("/assets/shelf-{}", after.split('"').next().unwrap_or_default());
    let answer = http::send(host, "GET", &style, &[], b"")?;
    assert_eq!(answer.status, 200, "{style}");
    ensure!(answer.header("cache-control").is_some_and(|c| c.contains("public")), "{answer:?}");
    ensure!(answer.header("set-cookie").is_none(), "a cache would give one visitor's cookie to all");
    // A notification for a plugin that takes no payments is one for nobody.
    for (gateway, status) in [("org.fondaco.storefront-shelf", 404), ("org.fondaco.nobody", 404)] {
        let answer = http::send(host, "POST", &format!("/webhooks/{gateway}"), &[], b"x")?;
        assert_eq!(answer.status, status, "{gateway}: {}", answer.text());
    }
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn figures_are_for_this_machine_alone() -> Result<()> {
    let (_node, running, host) = up("")?;
    let status =
        |host: &str, headers: &[(&str, &str)]| http::send(host, "GET", "/metrics", headers, b"").map(|a| a.status);
    assert_eq!(status(&host, &[])?, 200);
    for through in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
        assert_eq!(status(&host, &[(through, "192.0.2.1")])?, 403, "{through}");
    }
    assert_eq!(running.stop()?, 0);
    // Where the shop is public, whoever asks may have come through a front server that says nothing.
    let node = TestNode::bare()?;
    let file = node.deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file)?;
    fs::write(&file, text.replacen("[brand]\n", "[brand]\nbase-url = \"https://shop.example\"\n", 1))?;
    let running = node.deployment.up()?;
    assert_eq!(status(running.listen.trim_start_matches("http://"), &[])?, 403);
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn methods_and_addresses_that_mean_nothing_here_are_refused() -> Result<()> {
    let (_node, running, host) = up("")?;
    for (method, target, allow) in [
        ("POST", "/files/abc/a.bin", "GET, HEAD"),
        ("POST", "/licences/abc/a.bin", "GET, HEAD"),
        ("GET", "/webhooks/org.example.pay", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("POST", "/theme/tokens.css", "GET, HEAD"),
    ] {
        let answer = http::send(&host, method, target, &[], b"")?;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
    }
    // A proxy's request is no request for a page.
    assert_eq!(http::send(&host, "GET", "*", &[], b"")?.status, 414);
    assert_eq!(running.stop()?, 0);
    Ok(())
}

const SHELF: &str = "org.fondaco.storefront-shelf";

/// How often the storefront was asked for a page so far.
fn pages_made(host: &str) -> Result<u64> {
    let text = http::send(host, "GET", "/metrics", &[], b"")?.text();
    let plugin = format!("fondaco_plugin_calls_total{{plugin=\"{SHELF}\"");
    let counted = |line: &&str| line.starts_with(&plugin) && line.contains("function=\"handle\"");
    let values = text.lines().filter(counted).map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<u64>());
    Ok(values.sum::<Result<u64, _>>()?)
}

#[test]
fn a_page_for_everybody_is_made_once_and_carries_each_visitors_own_cookie() -> Result<()> {
    let node = TestNode::new()?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://");
    let get = |target: &str, headers: &[(&str, &str)]| http::send(host, "GET", target, headers, b"");
    for target in ["/", "/about", "/search", "/campaigns"] {
        let first = get(target, &[])?;
        let (before, mut cookies) = (pages_made(host)?, Vec::new());
        for _ in 0..40 {
            let page = get(target, &[])?;
            assert_eq!((page.status, page.header("cache-control")), (200, Some("private, no-cache")), "{target}");
            let (policy, promise) = (page.header("content-security-policy"), page.header("fondaco-page"));
            ensure!(policy.is_some() && promise.is_none(), "{target}: {:?}", page.headers);
            assert_eq!(page.text(), first.text(), "{target}");
            cookies.push(page.header("set-cookie").context("no cookie")?.to_owned());
        }
        let made = pages_made(host)? - before;
        ensure!(made < 40, "{target} was made {made} times for 40");
        cookies.sort_unstable();
        cookies.dedup();
        assert_eq!(cookies.len(), 40, "{target}: a visitor's cookie is nobody else's");
    }
    // A known visitor gets the same page, and no other cookie.
    let cookie = get("/about", &[])?.header("set-cookie").and_then(|c| c.split(';').next()).map(str::to_owned);
    let own = cookie.context("no cookie")?;
    assert_eq!(get("/about", &[("cookie", &own)])?.header("set-cookie"), None);
    // The language is the visitor's, the address is the visitor's, and a HEAD has no body.
    let about = |language: &str| Ok::<_, anyhow::Error>(get("/about", &[("accept-language", language)])?.text());
    for _ in 0..3 {
        ensure!(about("fr")?.contains("<html lang=\"fr\"") && about("en")?.contains("<html lang=\"en\""), "mixed up");
        ensure!(get("/about?lang=fr", &[])?.text().contains("<html lang=\"fr\""), "the address is another");
    }
    let head = http::send(host, "HEAD", "/about", &[], b"")?;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn what_is_a_visitors_own_is_made_for_each_of_them() -> Result<()> {
    let node = TestNode::new()?;
    let about = "slug = \"free\"\nkind = \"other\"\ntitle = \"Free\"\nlicense = \"CC0-1.0\"\n\
                 [[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n";
    let work = bundles::text(&node.deployment.publish(&node.work("free", about, &[("a.txt", b"text")])?)?, "work")?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://");
    for target in [format!("/works/{work}"), "/library".to_owned()] {
        let (before, mut tokens) = (pages_made(host)?, Vec::new());
        for _ in 0..5 {
            let page = http::send(host, "GET", &target, &[], b"")?;
            assert_eq!((page.status, page.header("cache-control")), (200, Some("private, no-store")), "{target}");
            let text = page.text();
            let fields = text.split("name=\"csrf\" value=\"").skip(1);
            tokens.extend(fields.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
        ensure!(pages_made(host)? - before >= 5, "{target} was kept");
        tokens.sort_unstable();
        tokens.dedup();
        ensure!(target == "/library" || tokens.len() >= 5, "{target}: {tokens:?}");
    }
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_page_for_everybody_shows_what_was_answered_before_it_was_asked_for() -> Result<()> {
    let node = TestNode::new()?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://");
    let front = || http::send(host, "GET", "/", &[], b"");
    for number in 0..5 {
        // It is known to be everybody's, and there is a copy, unless the machine sleeps.
        for _ in 0..3 {
            assert_eq!(front()?.status, 200);
        }
        let (slug, title) = (format!("work-{number}"), format!("Arrival {number}"));
        let about = format!(
            "slug = \"{slug}\"\nkind = \"other\"\ntitle = \"{title}\"\nlicense = \"CC0-1.0\"\n\
             [[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n"
        );
        node.deployment.publish(&node.work(&slug, &about, &[("a.txt", slug.as_bytes())])?)?;
        ensure!(front()?.text().contains(&title), "{title} is published and not shown");
    }
    // A storefront that is taken out answers nothing from then on, and one that is put in answers at once.
    node.deployment.ok(&["plugin", "disable", SHELF])?;
    assert_eq!(front()?.status, 503);
    node.deployment.ok(&["plugin", "enable", SHELF])?;
    assert_eq!(front()?.status, 200);
    assert_eq!(running.stop()?, 0);
    Ok(())
}
