//! What the visitor owns: files, licences, and the key that it all hangs on.

use fondaco_sdk::{Entitlement, EntitlementState, Response, Work, commerce};
use maud::{Markup, html};

use crate::art;
use crate::card;
use crate::format;
use crate::page::{Head, Page, Section, notice};
use crate::text::fill;
use crate::work::{file_name, is_delivered};

/// Works on a page of the library.
const PAGE: usize = 24;
/// Files of one work that are listed.
const MAX_FILES: usize = 150;

/// `GET /library`
pub fn show(page: &Page) -> Response {
    let t = page.t;
    let owned = commerce::library(page.request.session());
    let from = page.request.query("from").and_then(|f| f.parse::<usize>().ok()).unwrap_or(0);
    let content = html! {
        h1 { (t.library_title) }
        @match &owned {
            Err(_) => { (notice(t.library_down)) }
            Ok(owned) => {
                @if page.request.query("welcome").is_some() && !owned.is_empty() { (notice(t.library_welcome)) }
                @if owned.is_empty() {
                    div.empty {
                        p { strong { (t.library_empty) } }
                        p { (t.library_empty_more) }
                        p { a.button href=(page.link("/search")) { (t.see_all) } }
                    }
                }
                ul.owned { @for entitlement in owned.iter().skip(from).take(PAGE) { (item(page, entitlement)) } }
                (pager(page, owned.len(), from))
            }
        }
        div.pair {
            section.panel aria-labelledby="keep" {
                h2 id="keep" { (t.key_title) }
                p { (t.key_text) }
                form method="post" action="/-/library-key" {
                    (page.csrf())
                    button type="submit" { (t.key_save) }
                }
            }
            section.panel aria-labelledby="restore" {
                h2 id="restore" { (t.restore_title) }
                form method="post" action="/-/restore" {
                    (page.csrf())
                    div.field {
                        label for="key" { (t.restore_label) }
                        textarea id="key" name="key" rows="4" required spellcheck="false" autocomplete="off" aria-describedby="key-help" {}
                        span.help id="key-help" { (t.restore_help) }
                    }
                    button.plain type="submit" { (t.restore_button) }
                }
            }
        }
    };
    page.show(&Head::private(t.library_title, Section::Library), &content)
}

fn pager(page: &Page, total: usize, from: usize) -> Markup {
    let next = from.saturating_add(PAGE);
    html! {
        @if from > 0 || next < total {
            nav.pager aria-label=(page.t.pages) {
                @if from > 0 { a.button.plain href=(page.link("/library")) { (page.t.first_page) } }
                @if next < total { a.button href=(page.link(format!("/library?from={next}"))) rel="next" { (page.t.next_page) } }
            }
        }
    }
}

fn item(page: &Page, entitlement: &Entitlement) -> Markup {
    let t = page.t;
    // As it was bought: the catalogue has the newest release, or none any more.
    let work = commerce::bought(page.request.session(), &entitlement.id).ok();
    let state = match entitlement.state {
        EntitlementState::Active => None,
        EntitlementState::Suspended => Some(t.right_suspended),
        EntitlementState::Expired => Some(t.right_expired),
        EntitlementState::Revoked => Some(t.right_revoked),
        EntitlementState::Returned => Some(t.right_returned),
    };
    html! {
        li.panel {
            div.thumb { @if let Some(work) = &work {
                @let (width, height) = art::shape(work.kind);
                img src=(art::cover_path(work)) alt="" width=(width) height=(height) loading="lazy";
            } }
            div.label {
                h2 { @if let Some(work) = &work { a href=(page.link(card::path(&work.id))) { (work.title) } } @else { (t.unknown_work) } }
                @if let Some(work) = &work { p.by { (card::creators(work)) } }
                p.quiet {
                    (fill(t.owned_since, &[&format::date(t, &entitlement.granted)]))
                    @if let Some(expires) = &entitlement.expires { ", " (fill(t.owned_until, &[&format::date(t, expires)])) }
                }
                @match (state, &work) {
                    (Some(state), _) => { p.notice { (state) } }
                    (None, Some(work)) => { (downloads(page, entitlement, work)) }
                    (None, None) => {}
                }
            }
        }
    }
}

/// One file that the visitor may fetch.
struct Delivered<'a> {
    name: &'a str,
    path: &'a str,
    size: u64,
    address: String,
    licence: Option<String>,
}

fn downloads(page: &Page, entitlement: &Entitlement, work: &Work) -> Markup {
    let t = page.t;
    let address = |path: &str| {
        let found = commerce::delivery_url(page.request.session(), &entitlement.id, path).ok();
        found.filter(|url| is_ours(url, &page.brand.base_url))
    };
    let files: Vec<Delivered> = work
        .files
        .iter()
        .filter(|f| is_delivered(f.role))
        .take(MAX_FILES)
        .filter_map(|f| {
            let licence = f.protection.is_some().then(|| address(&format!("{}.licence", f.path))).flatten();
            Some(Delivered { name: file_name(f), path: &f.path, size: f.size, address: address(&f.path)?, licence })
        })
        .collect();
    let sealed = files.iter().find(|f| f.licence.is_some());
    html! {
        @if files.is_empty() { p.notice { (t.no_files) } } @else {
            h3 { (t.downloads) }
            ul.files {
                @for file in &files {
                    li {
                        span.name { (file.name) }
                        span.quiet { (format::size(t, file.size)) }
                        a.button.small href=(file.address) download { (t.download) span.visually-hidden { " " (file.name) } }
                        @if let Some(licence) = &file.licence {
                            a.button.plain.small href=(licence) download { (t.download_licence) span.visually-hidden { " " (file.name) } }
                        }
                    }
                }
            }
            @if let Some(file) = sealed {
                @let name = file.path.rsplit('/').next().unwrap_or_default();
                details.why {
                    summary { (t.how_to_open) span.visually-hidden { ": " (work.title) } }
                    p { (t.how_to_open_text) }
                    pre tabindex="0" { code { "fondaco open " (shell_word(name)) } }
                }
            }
        }
    }
}

/// A name as one word of a shell's command line.
fn shell_word(name: &str) -> String {
    if !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.starts_with('-')
    {
        return name.to_owned();
    }
    format!("'./{}'", name.replace('\'', "'\\''"))
}

/// Is it an address of this node?
fn is_ours(url: &str, base: &str) -> bool {
    let base = base.trim_end_matches('/');
    (url.starts_with('/') && !url.starts_with("//"))
        || (!base.is_empty() && url.strip_prefix(base).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_names_for_the_shell() {
        assert_eq!(shell_word("a-b_1.epub"), "a-b_1.epub");
        assert_eq!(shell_word("it's; rm -rf"), "'./it'\\''s; rm -rf'");
        assert_eq!(shell_word("-x"), "'./-x'");
    }

    #[test]
    fn links_to_no_other_site_for_a_download() {
        let base = "https://shop.example";
        assert!(is_ours("/d/1", base) && is_ours("https://shop.example/d/1", base));
        for bad in ["//x.example/", "https://shop.example.evil/", "javascript:x", "", "https://x.example/"] {
            assert!(!is_ours(bad, base), "{bad}");
        }
    }
}
