//! The demo's shop in a swarm: where it listens, the link that others join by, and a second shop that joins.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::brand::replace;
use crate::http;
use crate::node::{Deployment, Running};

/// Makes a deployment part of a swarm, on this machine alone. The port of the last time is kept while it is free, so that
/// links that were given out still lead here.
pub fn listen(deployment: &Deployment) -> Result<u16> {
    let file = deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let (before, rest) = text.split_once("[network]\n").context("fondaco.toml has no [network]")?;
    let (section, after) = rest.split_once("\n[").map_or((rest, None), |(s, a)| (s, Some(a)));
    let is_set = |line: &str| line.starts_with("enabled =") || line.trim_start_matches("# ").starts_with("listen =");
    let had = section.lines().find(|line| line.starts_with("listen =")).and_then(|line| {
        let (_, port) = line.split_once("/tcp/")?;
        port.split('"').next()?.parse().ok().filter(|port| is_free(*port))
    });
    let port = had.map_or_else(free_port, Ok)?;
    let kept: Vec<&str> = section.lines().filter(|line| !is_set(line)).collect();
    let kept = kept.join("\n");
    let address = format!("/ip4/{}", Ipv4Addr::LOCALHOST);
    let listen = format!("listen = [\"{address}/udp/{port}/quic-v1\", \"{address}/tcp/{port}\"]\n");
    let after = after.map(|a| format!("\n[{a}")).unwrap_or_default();
    replace(&file, &format!("{before}[network]\nenabled = true\n{listen}{kept}\n{after}"))?;
    Ok(port)
}

fn is_free(port: u16) -> bool {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok()
}

fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        if is_free(port) {
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free for both TCP and UDP")
}

/// The link by which others fetch a work of this shop: the first that is free, else the first.
pub fn link(deployment: &Deployment) -> Result<Option<String>> {
    let works = deployment.json(&["works"])?;
    let is_free = |work: &&Value| {
        let price = work.pointer("/offers/0/price");
        price.is_some_and(|p| p.get("minor").map_or_else(|| p.to_string().contains("\"0.00"), |minor| minor == 0))
    };
    let work = works.iter().find(is_free).or_else(|| works.first());
    Ok(work.and_then(|w| w.get("link")).and_then(Value::as_str).map(str::to_owned))
}

/// Fetches what a link names, and keeps it for others. Says what came.
pub fn join(deployment: &Deployment, link: &str) -> Result<String> {
    let said = deployment.json(&["seed", link])?;
    let work = said.last().context("the node fetched it and says nothing")?;
    let title = work.get("title").and_then(Value::as_str).unwrap_or_default();
    let files = work.get("files").and_then(Value::as_array).map_or(0, Vec::len);
    Ok(format!("{title}: {files} files, verified"))
}

/// Does the shop that joined show and serve what it fetched?
pub fn check(deployment: &Deployment, node: &Running) -> Result<String> {
    let host = node.url.trim_start_matches("http://");
    let works = deployment.json(&["works"])?;
    let work = works.first().context("nothing was fetched")?;
    let id = work.get("work").and_then(Value::as_str).context("a work without an id")?;
    let page = http::send(host, "GET", &format!("/works/{id}"), &[], b"")?;
    ensure!(page.status == 200, "the page of {id} answers {}", page.status);
    let file = work.pointer("/files/0").context("a work without files")?;
    let field = |name: &str| file.get(name).and_then(Value::as_str).context("a file without a name");
    let name = field("path")?.rsplit('/').next().unwrap_or_default().to_owned();
    let got = http::send(host, "GET", &format!("/files/{}/{name}", field("hash")?), &[], b"")?;
    let size = file.get("size").and_then(Value::as_u64);
    ensure!(got.status == 200 && size == Some(got.body.len() as u64), "{name} answers {}", got.status);
    Ok(format!("{} bytes of {name}", got.body.len()))
}
