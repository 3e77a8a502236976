//! What every page shares: the visitor's language, the brand, the operator's settings, and the frame around the content.

use std::fmt::Write;

use fondaco_sdk::settings::{self, Brand};
use fondaco_sdk::{Error, Request, Response, encode};
use http::{Method, StatusCode};
use maud::{DOCTYPE, Escaper, Markup, PreEscaped, Render, html};
use serde::Deserialize;

use crate::assets;
use crate::text::{ENGLISH, FRENCH, Texts};

/// The operator's settings; `settings.schema.json` describes them.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// A sentence or two under the brand's name on the front page.
    pub welcome: Worded,
    /// Markdown for the page about the shop.
    pub about: Worded,
    /// Works on a page.
    pub page_size: u32,
    /// The country that the postcode form of a campaign begins with: ISO 3166-1 alpha-2.
    pub country: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { welcome: Worded::default(), about: Worded::default(), page_size: 24, country: String::new() }
    }
}

/// The operator's own words, by language.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worded {
    en: Option<String>,
    fr: Option<String>,
}

impl Worded {
    /// The words in a language, or in the other one where there are none.
    pub fn get(&self, lang: &str) -> Option<&str> {
        let (first, second) = if lang == "fr" { (&self.fr, &self.en) } else { (&self.en, &self.fr) };
        first.as_deref().or(second.as_deref()).filter(|s| !s.trim().is_empty())
    }
}

/// Every parameter that a page of this shop takes, besides the language: switching that keeps them.
const PARAMETERS: [&str; 10] =
    ["q", "kind", "tag", "language", "drm-free", "sort", "cursor", "audience", "placement", "from"];

/// Which entry of the menu a page stands under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The front page.
    Home,
    /// Search and works.
    Browse,
    /// Campaigns.
    Campaigns,
    /// Orders and the library.
    Library,
    /// About.
    About,
    /// None of them.
    None,
}

/// Who may keep a copy of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It says the same to everybody: the node may keep it for a moment, a browser asks before it uses its copy again.
    Public,
    /// It holds a form's token or something of the visitor's: nobody keeps it.
    Never,
}

/// What stands in a page's head.
pub struct Head<'a> {
    /// The page's own title; empty on the front page.
    pub title: &'a str,
    /// One or two sentences for search engines and chat previews; empty: the brand's tagline.
    pub description: &'a str,
    /// Menu entry.
    pub section: Section,
    /// Who may keep a copy.
    pub keep: Keep,
    /// Path of a picture for chat previews.
    pub image: Option<&'a str>,
    /// schema.org JSON-LD.
    pub json_ld: Option<&'a str>,
    /// Seconds after which to look at a path again.
    pub refresh: Option<(u32, &'a str)>,
}

impl<'a> Head<'a> {
    /// A page that anybody may see.
    pub fn public(title: &'a str, section: Section) -> Self {
        Self { title, description: "", section, keep: Keep::Public, image: None, json_ld: None, refresh: None }
    }
    /// A page of this visitor's.
    pub fn private(title: &'a str, section: Section) -> Self {
        Self { keep: Keep::Never, ..Self::public(title, section) }
    }
}

/// An address within the shop that keeps the language that the visitor chose. Escaped when it is written.
pub struct Link<S> {
    path: S,
    lang: Option<&'static str>,
}

impl<S: AsRef<str>> Link<S> {
    /// As it stands in a `Location` header.
    pub fn address(&self) -> String {
        let (path, fragment) = split_fragment(self.path.as_ref());
        match self.lang {
            Some(lang) => format!("{path}{}lang={lang}{fragment}", if path.contains('?') { '&' } else { '?' }),
            None => self.path.as_ref().to_owned(),
        }
    }
}

impl<S: AsRef<str>> Render for Link<S> {
    fn render_to(&self, out: &mut String) {
        let (path, fragment) = split_fragment(self.path.as_ref());
        let _ = Escaper::new(out).write_str(path);
        if let Some(lang) = self.lang {
            out.push_str(if path.contains('?') { "&amp;lang=" } else { "?lang=" });
            out.push_str(lang);
        }
        let _ = Escaper::new(out).write_str(fragment);
    }
}

fn split_fragment(path: &str) -> (&str, &str) {
    path.split_at(path.find('#').unwrap_or(path.len()))
}

/// One request on its way to becoming a page.
pub struct Page<'a> {
    /// What was asked.
    pub request: &'a Request,
    /// The texts of the language to answer in.
    pub t: &'static Texts,
    /// Whose shop it is.
    pub brand: Brand,
    /// The operator's settings.
    pub settings: Settings,
    offered: Vec<&'static Texts>,
    explicit: bool,
}

impl<'a> Page<'a> {
    /// Reads the brand and the settings, and settles the language.
    pub fn new(request: &'a Request) -> Self {
        let brand = settings::brand();
        let mut offered: Vec<&'static Texts> = Vec::with_capacity(2);
        for locale in std::iter::once(&brand.locale).chain(&brand.locales) {
            let primary = locale.split('-').next().unwrap_or_default();
            if let Some(t) = [&ENGLISH, &FRENCH].into_iter().find(|t| t.lang.eq_ignore_ascii_case(primary))
                && !offered.iter().any(|o| o.lang == t.lang)
            {
                offered.push(t);
            }
        }
        if offered.is_empty() {
            offered.push(&ENGLISH);
        }
        let tags: Vec<&str> = offered.iter().map(|t| t.lang).collect();
        let lang = request.language(&tags);
        let t = offered.iter().copied().find(|t| t.lang == lang).unwrap_or(&ENGLISH);
        let explicit = request.query("lang").is_some_and(|l| l == t.lang);
        // The node has checked the settings against the schema; a shop without its extra words is better than none.
        let settings = settings::get().unwrap_or_default();
        Self { request, t, brand, settings, offered, explicit }
    }

    /// A link within the shop, in the language that the visitor chose.
    pub fn link<S: AsRef<str>>(&self, path: S) -> Link<S> {
        Link { path, lang: self.explicit.then_some(self.t.lang) }
    }

    /// The hidden field that the node checks on every form that is posted.
    pub fn csrf(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.request.csrf()); }
    }

    /// The language as a hidden field, for forms that are sent by GET and so lose their action's query.
    pub fn lang_field(&self) -> Markup {
        html! { @if self.explicit { input type="hidden" name="lang" value=(self.t.lang); } }
    }

    /// Sends the browser on to a path of the shop.
    pub fn see_other(&self, path: &str) -> Response {
        Response::see_other(&self.link(path).address()).with("cache-control", "private, no-store")
    }

    /// The search box.
    pub fn search_box(&self, id: &str, value: &str, words: &[String]) -> Markup {
        html! {
            form.search role="search" action="/search" method="get" {
                (self.lang_field())
                label.visually-hidden for=(id) { (self.t.search_label) }
                input id=(id) type="search" name="q" value=(value) placeholder=(self.t.search_hint) maxlength="200"
                    autocomplete="off" list={ (id) "-words" } data-suggest="/suggest";
                datalist id={ (id) "-words" } { @for word in words { option value=(word) {} } }
                button type="submit" { (self.t.search_button) }
            }
        }
    }

    /// A page with everything around it.
    pub fn show(&self, head: &Head, content: &Markup) -> Response {
        let mut out = String::with_capacity(content.0.len() + 6 * 1024);
        self.frame(head, content).render_to(&mut out);
        let keep = if head.keep == Keep::Public { "private, no-cache" } else { "private, no-store" };
        let page = Response::html(out)
            .with("cache-control", keep)
            .with("vary", "accept-language")
            .with("content-language", self.t.lang);
        // The node may show this copy to others for a moment; browsers never see the promise.
        if head.keep == Keep::Public { page.with("fondaco-page", "shared") } else { page }
    }

    fn frame(&self, head: &Head, content: &Markup) -> Markup {
        let t = self.t;
        let name = self.brand.name.as_str();
        let description = if head.description.is_empty() { &self.brand.tagline } else { head.description };
        let base = self.brand.base_url.trim_end_matches('/');
        let own_path = self.own_path();
        html! {
            (DOCTYPE)
            html lang=(t.lang) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { @if !head.title.is_empty() { (head.title) " · " } (name) }
                    meta name="description" content=(description);
                    meta name="color-scheme" content="light dark";
                    @if head.keep == Keep::Never { meta name="robots" content="noindex"; }
                    // Without scripts the page looks again by itself; with them the script does, and says so.
                    @if let Some((seconds, path)) = head.refresh {
                        noscript { meta http-equiv="refresh" content={ (seconds) ";url=" (self.link(path)) }; }
                    }
                    link rel="stylesheet" href=(assets::STYLE.path());
                    link rel="stylesheet" href="/theme/tokens.css";
                    @if self.brand.logo.is_some() {
                        link rel="icon" href="/theme/logo";
                    } @else {
                        link rel="icon" type="image/svg+xml" href="/icon.svg";
                    }
                    link rel="manifest" href="/manifest.webmanifest";
                    link rel="search" type="application/opensearchdescription+xml" title=(name) href="/opensearch.xml";
                    link rel="alternate" type="application/atom+xml" title=(t.feed) href=(self.link("/feed.xml"));
                    @if head.section != Section::None && self.request.method() != Method::POST {
                        link rel="canonical" href={ (base) (self.request.path()) };
                        @for other in &self.offered {
                            link rel="alternate" hreflang=(other.lang) href={ (base) (self.request.path()) "?lang=" (other.lang) };
                        }
                    }
                    meta property="og:site_name" content=(name);
                    meta property="og:title" content=(if head.title.is_empty() { name } else { head.title });
                    meta property="og:description" content=(description);
                    meta property="og:type" content="website";
                    meta property="og:url" content={ (base) (self.request.path()) };
                    @if let Some(image) = head.image { meta property="og:image" content={ (base) (image) }; }
                    @if let Some(json) = head.json_ld {
                        script type="application/ld+json" { (PreEscaped(json)) }
                    }
                    script src=(assets::SCRIPT.path()) defer {}
                }
                body {
                    a.skip href="#content" { (t.skip) }
                    header.site {
                        div.wrap.bar {
                            a.brand href=(self.link("/")) {
                                @if self.brand.logo.is_some() { img src="/theme/logo" alt="" width="40" height="40"; }
                                span { (name) }
                            }
                            nav.menu aria-label=(t.menu) {
                                ul {
                                    (self.entry("/search", t.browse, head.section == Section::Browse))
                                    (self.entry("/campaigns", t.campaigns, head.section == Section::Campaigns))
                                    (self.entry("/library", t.library, head.section == Section::Library))
                                }
                            }
                        }
                    }
                    main.wrap id="content" tabindex="-1" { (content) }
                    footer.site {
                        div.wrap.foot {
                            p.who { strong { (name) } br; (self.brand.tagline) }
                            ul.links {
                                (self.entry("/about", t.about, head.section == Section::About))
                                (self.entry("/feed.xml", t.feed, false))
                            }
                            @if self.offered.len() > 1 {
                                nav.langs aria-label=(t.languages) {
                                    ul {
                                        @for other in &self.offered {
                                            li { a href={ (own_path) "lang=" (other.lang) } lang=(other.lang) hreflang=(other.lang)
                                                aria-current=[(other.lang == t.lang).then_some("true")] { (other.own_name) } }
                                        }
                                    }
                                }
                            }
                            p.quiet { (t.footer_note) }
                        }
                    }
                }
            }
        }
    }

    fn entry(&self, path: &str, name: &str, current: bool) -> Markup {
        html! { li { a href=(self.link(path)) aria-current=[current.then_some("page")] { (name) } } }
    }

    /// Where this page is, up to the place where a language goes. An answer to a form is a page of the path above it.
    fn own_path(&self) -> String {
        let path = self.request.path();
        let path = if self.request.method() == Method::POST {
            path.rsplit_once('/').map_or("/", |(above, _)| above)
        } else {
            path
        };
        let mut out = String::with_capacity(path.len() + 32);
        out.push_str(path);
        out.push('?');
        if self.request.method() != Method::POST {
            for name in PARAMETERS {
                for value in self.request.query_all(name) {
                    let _ = write!(out, "{name}={}&", encode(&value));
                }
            }
        }
        out
    }

    /// A short page that says what went wrong and leads back.
    pub fn problem(&self, status: StatusCode, title: &str, text: &str) -> Response {
        let content = html! {
            div.empty {
                h1 { (title) }
                @if !text.is_empty() { p { (text) } }
                p { a.button href=(self.link("/")) { (self.t.go_home) } }
            }
        };
        self.show(&Head::private(title, Section::None), &content).status(status)
    }

    /// 404.
    pub fn not_found(&self) -> Response {
        self.problem(StatusCode::NOT_FOUND, self.t.not_found_title, self.t.not_found_text)
    }

    /// What the node or a plugin answered in place of what was asked.
    pub fn error(&self, error: &Error) -> Response {
        let t = self.t;
        match error {
            Error::Invalid(why) => self.problem(StatusCode::BAD_REQUEST, t.bad_title, why),
            Error::NotFound => self.not_found(),
            Error::Denied(_) => self.problem(StatusCode::FORBIDDEN, t.denied_title, t.denied_text),
            Error::Exhausted(_) => self.problem(StatusCode::TOO_MANY_REQUESTS, t.busy_title, t.busy_text),
            Error::Unavailable(_) | Error::Internal(_) => {
                self.problem(StatusCode::SERVICE_UNAVAILABLE, t.down_title, t.down_text)
            }
        }
    }
}

/// A message that a page begins with.
pub fn notice(text: &str) -> Markup {
    html! { p.notice role="status" { (text) } }
}

/// A message about something that went wrong with what the visitor sent.
pub fn alert(id: &str, text: &str) -> Markup {
    html! { p.alert id=(id) role="alert" { (text) } }
}
