//! The operator's page about the swarm of a work: who shares it, and what went from and to each of them. It is made here
//! and needs no plugin; its address is given out by the node's commands and carries the right to see it.

use std::fmt::Write as _;
use std::pin::Pin;

use fondaco_market::Market;
use fondaco_schemas::ReleaseId;
use http::{HeaderMap, StatusCode, Uri, header};
use serde::Serialize;

use crate::answer::{Answer, plain, problem, set};
use crate::closed::{escaped, wants_html};
use crate::files::proof;
use crate::language::Language;

/// Asks the part of the node that knows the swarm who shares a release; None where the release is not in the catalogue.
pub type AskSwarm = Box<dyn Fn(ReleaseId) -> Pin<Box<dyn Future<Output = Option<Sharing>> + Send>> + Send + Sync>;

/// Who shares a release.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sharing {
    /// The work.
    pub work: String,
    /// Its title.
    pub title: String,
    /// Its release.
    pub release: ReleaseId,
    /// Bytes sent to others since the start.
    pub sent_bytes: u64,
    /// Bytes that came from others since the start.
    pub received_bytes: u64,
    /// Nodes that share it or did.
    pub sharers: Vec<Sharer>,
}

/// A node that shares a release, or did.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sharer {
    /// Its id.
    pub peer: String,
    /// Whether it is this node itself.
    pub this_node: bool,
    /// Whether it announces the release.
    pub announces: bool,
    /// Whether it is connected.
    pub connected: bool,
    /// Where it says that it is reached.
    pub addresses: Vec<String>,
    /// Bytes sent to it since the start.
    pub sent_bytes: u64,
    /// Bytes that came from it since the start.
    pub received_bytes: u64,
}

/// Answers `/-/desk/<page>`.
pub(crate) async fn page(
    market: &Market,
    ask: Option<&AskSwarm>,
    headers: &HeaderMap,
    uri: &Uri,
    page: &str,
) -> Answer {
    let proof = proof(uri);
    let is_right = match (proof.expires, &proof.tag) {
        (Some(expires), Some(tag)) => market.opens_desk(page, expires, tag),
        _ => false,
    };
    if !is_right {
        let why =
            "This page is the operator's. `fondaco peers --work` gives an address of it, which works for an hour.";
        return problem(StatusCode::FORBIDDEN, "operator-only", why);
    }
    let release = page.strip_prefix("swarm/").and_then(|id| id.parse().ok());
    let sharing = match (ask, release) {
        (Some(ask), Some(release)) => ask(release).await,
        _ => None,
    };
    let Some(sharing) = sharing else {
        return problem(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such release here, or this node is in no swarm.",
        );
    };
    let mut answer = if wants_html(headers) {
        let texts = Language::of(headers).pick(&ENGLISH, &FRENCH);
        plain("text/html; charset=utf-8", html(&market.looks().brand.name, &sharing, texts))
    } else {
        plain("application/json", serde_json::to_string(&sharing).unwrap_or_default())
    };
    set(answer.headers_mut(), header::CACHE_CONTROL, "no-store");
    answer
}

/// What the page says, in one language.
struct Texts {
    swarm: &'static str,
    /// Nodes that share it, what was sent and what came.
    sums: fn(usize, String, String) -> String,
    nodes: &'static str,
    release: &'static str,
    /// Of the table's columns.
    heads: [&'static str; 5],
    /// This node, one that announces it, one that is connected.
    states: [&'static str; 3],
    again: &'static str,
    language: Language,
}

const ENGLISH: Texts = Texts {
    swarm: "swarm",
    sums: |nodes, sent, came| {
        format!("Nodes that share it, or did since this one started: {nodes}; {sent} were sent, {came} came.")
    },
    nodes: "Nodes",
    release: "Release",
    heads: ["Node", "State", "Sent to it", "Came from it", "Addresses"],
    states: ["this node", "announces it", "connected"],
    again: "Look again",
    language: Language::English,
};

const FRENCH: Texts = Texts {
    swarm: "essaim",
    sums: |nodes, sent, came| {
        format!(
            "Nœuds qui la partagent, ou l’ont fait depuis le démarrage de ce nœud\u{a0}: {nodes}\u{a0}; {sent} envoyés, {came} reçus."
        )
    },
    nodes: "Nœuds",
    release: "Version",
    heads: ["Nœud", "État", "Envoyé", "Reçu", "Adresses"],
    states: ["ce nœud", "l’annonce", "connecté"],
    again: "Actualiser",
    language: Language::French,
};

fn html(brand: &str, sharing: &Sharing, texts: &Texts) -> String {
    let (brand, title) = (escaped(brand), escaped(&sharing.title));
    let bytes = |count| bytes(count, texts.language);
    let mut rows = String::new();
    for one in &sharing.sharers {
        let states = [one.this_node, one.announces, one.connected].into_iter().zip(texts.states);
        let states: Vec<&str> = states.filter(|(is, _)| *is).map(|(_, name)| name).collect();
        let addresses: Vec<String> = one.addresses.iter().map(|a| format!("<code>{}</code>", escaped(a))).collect();
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&one.peer),
            states.join(", "),
            bytes(one.sent_bytes),
            bytes(one.received_bytes),
            addresses.join("<br>"),
        );
    }
    let heads = texts.heads.join("</th><th scope=\"col\">");
    let sums = (texts.sums)(sharing.sharers.len(), bytes(sharing.sent_bytes), bytes(sharing.received_bytes));
    let Texts { swarm, nodes, release, again, language, .. } = texts;
    let (lang, id) = (language.tag(), sharing.release);
    format!(
        "<!doctype html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}: {swarm} – {brand}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"stylesheet\" href=\"/theme/tokens.css\">\n<link rel=\"stylesheet\" href=\"/-/desk.css\">\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n<p>{sums}</p>\n\
         <div class=\"wide\" role=\"region\" aria-label=\"{nodes}\" tabindex=\"0\">\n<table>\n<caption>{release} \
         <code>{id}</code></caption>\n<thead><tr><th scope=\"col\">{heads}</th></tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table>\n</div>\n<p><a href=\"\">{again}</a></p>\n</main>\n</body>\n</html>\n",
    )
}

/// How the pages that are made here look, within the deployment's design tokens.
pub(crate) fn css() -> Answer {
    let mut answer = plain("text/css; charset=utf-8", include_str!("desk.css"));
    set(answer.headers_mut(), header::CACHE_CONTROL, "public, max-age=300");
    answer
}

/// So many bytes, as people read them.
fn bytes(count: u64, language: Language) -> String {
    let (point, byte) = language.pick(('.', 'B'), (',', 'o'));
    let unit = [(1_u64 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')].into_iter().find(|(size, _)| count >= *size);
    match unit {
        Some((size, prefix)) => format!("{}{point}{} {prefix}i{byte}", count / size, count % size * 10 / size),
        None => format!("{count} {byte}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_say_cannot_break_out_of_the_page() {
        let sharer = Sharer {
            peer: "12D3<b>".into(),
            this_node: false,
            announces: true,
            connected: true,
            addresses: vec!["/dns/<script>".into()],
            sent_bytes: 1536,
            received_bytes: 7,
        };
        let sharing = Sharing {
            work: "w".into(),
            title: "<script>alert(1)</script>".into(),
            release: ReleaseId::new([7; 32]),
            sent_bytes: 3 << 30,
            received_bytes: 0,
            sharers: vec![sharer],
        };
        let page = html("A & B", &sharing, &ENGLISH);
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
        for part in ["announces it, connected", "<td>1.5 KiB</td><td>7 B</td>", "3.0 GiB were sent", "A &amp; B"] {
            assert!(page.contains(part), "no {part:?} in {page}");
        }
        let page = html("A & B", &sharing, &FRENCH);
        for part in ["lang=\"fr\"", "l’annonce, connecté", "<td>1,5 Kio</td><td>7 o</td>", "3,0 Gio envoyés"] {
            assert!(page.contains(part), "no {part:?} in {page}");
        }
    }
}
