//! A shop with works of many kinds, a gateway, a library and a campaign; and the same with hostile words in every field.

use fondaco_sdk::commerce::{Gateway, Order, OrderState, SoldBy};
use fondaco_sdk::fake::{Campaigns, Commerce, Discovery, Host};
use fondaco_sdk::peers::Remote;
use fondaco_sdk::{
    Action, Campaign, CampaignSummary, Count, Draft, Entitlement, EntitlementState, Error, EvidenceClass, Facet, Field,
    FileInfo, FileRole, FormField, Hit, Input, Money, Notice, Offer, Outcome, Participation, Presentation, Query,
    Request, Result, Results, Slot, Step, Storefront, Target, Terms, Work, WorkKind,
};

use crate::Shelf;

/// Ends a tag, an attribute, a script and an XML document, where something is not escaped.
pub const HOSTILE: &str = "\"onload=\"x()\" </title></script><script>alert(1)</script>'&amp;\u{1}]]>";

/// Another publisher.
pub const OTHERS: &str = "77ccfb44b2ba2a22bc9ba3f1a0ab0b9a3f0fa9d4d5d7e0d6b1a6b5b6ad5b7a11";
pub const PUBLISHER: &str = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";

pub fn money(amount: &str) -> Money {
    Money { amount: amount.into(), asset: "EUR".into(), exponent: 2 }
}

pub fn file(path: &str, role: FileRole, media_type: &str) -> FileInfo {
    FileInfo {
        path: path.into(),
        hash: "ab".repeat(32),
        size: 4_321_987,
        media_type: media_type.into(),
        role,
        protection: None,
        title: None,
        duration_ms: None,
    }
}

pub fn offer(id: &str, amount: &str, scheme: Option<&str>) -> Offer {
    Offer {
        id: id.into(),
        price: money(amount),
        suggested: None,
        splits: Vec::new(),
        terms: Terms {
            scheme: scheme.map(Into::into),
            lasts: None,
            devices: None,
            territories: Vec::new(),
            available_from: None,
            available_until: None,
        },
    }
}

pub fn work(slug: &str, title: &str, creator: &str, kind: WorkKind) -> Work {
    Work {
        id: format!("{PUBLISHER}/{slug}"),
        release: format!("{:016x}", crate::assets::fnv1a(slug.as_bytes())).repeat(4),
        kind,
        title: title.into(),
        creators: vec![creator.into()],
        description: "Recorded over three nights in an empty grain store, with two microphones and a borrowed harmonium.\n\nThe long last piece was played once and never again.".into(),
        language: Some("en".into()),
        tags: vec!["night".into(), "field recording".into()],
        license: Some("CC-BY-SA-4.0".into()),
        credits: vec![("Music".into(), creator.into()), ("Photography".into(), "Ada Holm".into())],
        published: "2026-11-03T10:00:00Z".into(),
        files: vec![file("book.epub", FileRole::Content, "application/epub+zip")],
        offers: vec![offer("buy", "700", None)],
        metadata: "{}".into(),
    }
}

fn album() -> Work {
    let mut album = work("grain-store", "Three Nights in the Grain Store", "The Owl Parliament", WorkKind::Album);
    album.files = (1..=3)
        .map(|n| {
            let titles = ["First Night", "Second Night, with Rain", "What the Harmonium Said"];
            let mut track = file(&format!("music/{n:02}.flac"), FileRole::Content, "audio/flac");
            track.title = titles.get(n - 1).map(|t| (*t).to_owned());
            track.duration_ms = Some(187_400 * u32::try_from(n).unwrap());
            track
        })
        .collect();
    let mut preview = file("preview/first night.mp3", FileRole::Preview, "audio/mpeg");
    preview.title = Some("First Night, one minute".into());
    album.files.push(preview);
    album.offers.push(offer("sealed", "400", Some("org.fondaco.drm-sealed")));
    album
}

/// Puts the usual works on the shelf; the album is the newest.
pub fn works() -> Vec<Work> {
    let mut free = work("low-water", "Low Water", "R. Tamsin Ekwueme", WorkKind::Book);
    free.offers = vec![offer("free", "0", None)];
    let mut sealed = work("the-ferry", "The Ferry at Kallio", "Ilse Brandt", WorkKind::Book);
    sealed.offers = vec![offer("buy", "1250", Some("org.fondaco.drm-sealed"))];
    sealed.files[0].protection = Some("org.fondaco.drm-sealed".into());
    let others = |slug: &str| {
        let mut other = work(slug, "Carried for Others", "N. Oredsson", WorkKind::Book);
        other.id = format!("{OTHERS}/{slug}");
        other
    };
    vec![
        others("mirrored"),
        others("lost"),
        work("gazette-114", "The Harbour Gazette No. 114", "Harbour Press", WorkKind::NewspaperIssue),
        work("tide-tables", "Tide Tables", "Ben Achterberg", WorkKind::Software),
        work("salt-roads", "Salt Roads", "Maren Voss", WorkKind::Video),
        work("lighthouse-keeper", "Keeper of the Ninth Lighthouse", "Two Lamps", WorkKind::Game),
        work("on-bread", "On Bread, Episode 12", "Kitchen Radio", WorkKind::PodcastEpisode),
        sealed,
        free,
        album(),
    ]
}

struct Finder {
    hostile: bool,
}

impl Discovery for Finder {
    fn search(&mut self, query: &Query) -> Result<Results> {
        if query.text == "nothing" {
            return Ok(Results {
                hits: Vec::new(),
                slots: Vec::new(),
                facets: Vec::new(),
                total: 0,
                next: None,
                missing: 1,
            });
        }
        let words = |usual: &str| if self.hostile { HOSTILE.to_owned() } else { usual.to_owned() };
        let hit = |slug: &str| Hit {
            work: format!("{PUBLISHER}/{slug}"),
            score: 1.0,
            highlights: vec![("description".into(), words("three \u{2}night\u{3}s in an empty grain store"))],
            because: vec![(words("“night” stands in the title"), 3.2), (words("filed under night"), 1.1)],
            via: None,
        };
        Ok(Results {
            hits: ["grain-store", "the-ferry", "low-water", "gone", "salt-roads"].map(hit).into(),
            slots: vec![Slot {
                work: format!("{PUBLISHER}/tide-tables"),
                sponsor: words("Harbour Press"),
                payer: words("Harbour Press"),
                reason: words("Asked for by the word night."),
            }],
            facets: vec![
                Facet {
                    field: "kind".into(),
                    values: vec![("album".into(), 1), ("book".into(), 2), ("video".into(), 1)],
                },
                Facet { field: "tag".into(), values: vec![(words("night"), 4), (words("field recording"), 2)] },
                Facet { field: "language".into(), values: vec![("en".into(), 3), (words("fr"), 1)] },
            ],
            total: 4,
            next: Some(words("page 2")),
            missing: 0,
        })
    }
    fn search_peers(&mut self, query: &Query) -> Result<Results> {
        let mut results = self.search(query)?;
        let via = |slug: &str| Hit {
            work: format!("{OTHERS}/{slug}"),
            score: 0.01,
            highlights: Vec::new(),
            because: Vec::new(),
            via: Some("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".into()),
        };
        results.hits.extend(["far-shore", "free-shore", "unknown"].map(via));
        Ok(results)
    }
    fn remote(&mut self, id: &str) -> Result<Remote> {
        let words = |usual: &str| if self.hostile { HOSTILE.to_owned() } else { usual.to_owned() };
        let slug = id.strip_prefix(OTHERS).and_then(|s| s.strip_prefix('/')).unwrap_or_default();
        if slug == "unknown" {
            return Err(Error::NotFound);
        }
        let mut far = work(slug, &words("The Far Shore at Night"), &words("N. Oredsson"), WorkKind::Album);
        far.id = id.into();
        far.language = Some(words("sv"));
        let shop = (slug == "far-shore").then(|| words("https://far.example/works/1"));
        Ok(Remote { work: far, link: words("fondaco:00?p=/ip4/192.0.2.1/tcp/1"), shop })
    }
    fn suggest(&mut self, prefix: &str, _limit: u32) -> Result<Vec<String>> {
        Ok(vec![format!("{prefix}s"), if self.hostile { HOSTILE.into() } else { "night boat".into() }])
    }
}

struct Till {
    hostile: bool,
    owned: bool,
}

impl Till {
    fn words(&self, usual: &str) -> String {
        if self.hostile { HOSTILE.to_owned() } else { usual.to_owned() }
    }
}

fn order(id: &str) -> Order {
    let state = match id {
        "ord_pending" => OrderState::Pending,
        "ord_fulfilled" => OrderState::Fulfilled,
        "ord_expired" => OrderState::Expired,
        _ => OrderState::Open,
    };
    Order {
        id: id.into(),
        work: format!("{PUBLISHER}/grain-store"),
        offer: "buy".into(),
        total: money("700"),
        state,
        gateway: (state == OrderState::Pending).then(|| "voucher".into()),
        created: "2026-11-23T10:00:00Z".into(),
        updated: "2026-11-23T10:00:00Z".into(),
    }
}

impl Commerce for Till {
    fn seller(&mut self, work: &str) -> Result<SoldBy> {
        Ok(match work.strip_prefix(OTHERS) {
            Some("/mirrored") => SoldBy::Elsewhere(Some(self.words("https://far.example/works/2"))),
            Some("/lost") => SoldBy::Elsewhere(None),
            _ => SoldBy::Here,
        })
    }
    fn gateways(&mut self, _work: &str, _offer: &str) -> Result<Vec<Gateway>> {
        let gateway = |id: &str, name: String| Gateway { id: id.into(), name, currencies: vec!["EUR".into()] };
        Ok(vec![gateway("voucher", self.words("Voucher")), gateway("coins", "Coins".into())])
    }
    fn checkout(&mut self, session: &str, work: &str, offer: &str, key: &str) -> Result<Order> {
        assert!(session == "visitor" && key.len() == 32);
        if work.starts_with(OTHERS) {
            return Err(Error::Denied("another publisher's".into()));
        }
        match offer {
            "free" => Ok(Order { state: OrderState::Fulfilled, ..order("ord_free") }),
            "buy" => Ok(Order { work: work.into(), ..order("ord_open") }),
            _ => Err(Error::Invalid(format!("there is no offer {offer}"))),
        }
    }
    fn pay(&mut self, session: &str, _order: &str, gateway: &str, input: &[Field]) -> Result<Step> {
        assert_eq!(session, "visitor");
        let ask =
            FormField { name: "code".into(), label: self.words("Voucher code"), kind: "text".into(), required: true };
        match (gateway, input) {
            ("voucher", []) => Ok(Step::Ask(vec![ask])),
            ("voucher", [code]) if code.name == "code" && code.value == "GOOD" => Ok(Step::Done),
            ("voucher", _) => Err(Error::Invalid(self.words("this code was used before"))),
            ("elsewhere", _) => Ok(Step::Redirect("https://pay.example/1?a=b&c=d".into())),
            ("home", _) => Ok(Step::Redirect("https://shop.example/orders/ord_open".into())),
            ("trap", _) => Ok(Step::Redirect("javascript:alert(1)".into())),
            ("coins", _) => Ok(Step::Present(Presentation {
                title: self.words("Send 7.00 EUR in coins"),
                text: self.words("Scan this with your wallet."),
                uri: Some(self.words("bitcoin:bc1qexample?amount=0.0001")),
                expires: None,
            })),
            ("slow", _) => Ok(Step::Wait(7)),
            _ => Err(Error::NotFound),
        }
    }
    fn get_order(&mut self, session: &str, id: &str) -> Result<Order> {
        match (session, id) {
            ("visitor", "ord_open" | "ord_pending" | "ord_fulfilled" | "ord_expired") => Ok(order(id)),
            ("visitor", _) => Err(Error::NotFound),
            _ => Err(Error::Denied("another session's order".into())),
        }
    }
    fn library(&mut self, _session: &str) -> Result<Vec<Entitlement>> {
        let own = |slug: &str, state| Entitlement {
            id: format!("ent_{slug}"),
            work: format!("{PUBLISHER}/{slug}"),
            release: "cd".repeat(32),
            offer: "buy".into(),
            holder: "ef".repeat(32),
            state,
            granted: "2026-11-20T10:00:00Z".into(),
            expires: None,
        };
        let all = vec![
            own("grain-store", EntitlementState::Active),
            own("the-ferry", EntitlementState::Active),
            own("low-water", EntitlementState::Revoked),
            own("gone", EntitlementState::Active),
        ];
        Ok(if self.owned { all } else { Vec::new() })
    }
    fn bought(&mut self, session: &str, entitlement: &str) -> Result<Work> {
        let right = self.library(session)?.into_iter().find(|right| right.id == entitlement).ok_or(Error::NotFound)?;
        works().into_iter().find(|work| work.id == right.work).ok_or(Error::NotFound)
    }
    fn delivery_url(&mut self, _session: &str, entitlement: &str, path: &str) -> Result<String> {
        if path.contains("03") {
            return Err(Error::NotFound);
        }
        Ok(if self.hostile { "javascript:alert(1)".into() } else { format!("/files/delivery/{entitlement}/{path}") })
    }
}

struct Speakers {
    hostile: bool,
}

impl Campaigns for Speakers {
    fn running(&mut self, locale: &str) -> Result<Vec<CampaignSummary>> {
        Ok(vec![self.get("keep-it", locale, None)?.summary])
    }
    fn get(&mut self, id: &str, locale: &str, audience: Option<&str>) -> Result<Campaign> {
        let words = |usual: &str| if self.hostile { HOSTILE.to_owned() } else { usual.to_owned() };
        let audience = audience.unwrap_or("public");
        if id != "keep-it" {
            return Err(Error::NotFound);
        }
        if !["public", "industry"].contains(&audience) {
            return Err(Error::Invalid("there is no such audience".into()));
        }
        let count = |class, n| Count { class, action: "letter".into(), n };
        let input = |name: &str, label: &str, kind: &str, purpose: &str| Input {
            name: name.into(),
            label: words(label),
            kind: kind.into(),
            required: kind != "consent",
            purpose: words(purpose),
        };
        Ok(Campaign {
            summary: CampaignSummary {
                id: id.into(),
                title: words("What you buy should stay yours"),
                summary: words(
                    "Ask those who write the rules, and those who sell, to let people keep, lend and repair what they have paid for.",
                ),
                counts: vec![
                    count(EvidenceClass::PurchaseBacked, 41),
                    count(EvidenceClass::Confirmed, 1203),
                    count(EvidenceClass::Unconfirmed, 318),
                ],
                target: Some(5000),
                opens: "2026-09-01T00:00:00Z".into(),
                closes: Some("2027-01-31T00:00:00Z".into()),
            },
            locale: locale.into(),
            audience: audience.into(),
            audiences: vec!["public".into(), "industry".into()],
            body_markdown: words(
                "## Why now\n\nA record on the shelf plays for as long as the shelf stands. A file that a shop can switch off does **not**.\n\n- Let buyers keep what they bought.\n- Say before the sale what a lock does.\n\n> We sold more once we stopped locking things.\n\nRead [the proposal](https://example.org/proposal).",
            ),
            actions: vec![Action {
                id: "write".into(),
                kind: "letter".into(),
                label: words("Write to your representatives"),
                fields: vec![
                    input("name", "Your name", "text", "Stands under the letter."),
                    input("mail", "Your mail address", "email", "To confirm, once."),
                    input("postcode", "Your postcode", "postcode", "Shows that you live in the district."),
                    input(
                        "keep-me-posted",
                        "Write to me when this is decided",
                        "consent",
                        "You can take it back at any time.",
                    ),
                ],
                draft: Some(Draft {
                    subject: words("What we buy should stay ours"),
                    body: words("Dear Madam or Sir,\n\nplease …"),
                }),
            }],
            share_text: words("What you buy should stay yours: https://shop.example/campaigns/keep-it"),
            notice: Notice {
                sponsor: words("Night Owl Records"),
                paid: true,
                process: words("Digital fairness act"),
                url: words("https://example.org/notice"),
                retention_days: 180,
            },
        })
    }
    fn targets(&mut self, _id: &str, _country: &str, postcode: &str) -> Result<Vec<Target>> {
        let words = |usual: &str| if self.hostile { HOSTILE.to_owned() } else { usual.to_owned() };
        let target = |id: &str, name: &str| Target {
            id: words(id),
            name: words(name),
            post: words("Representative"),
            organisation: words("House"),
            division: String::new(),
            channels: Vec::new(),
        };
        match postcode {
            "" => Ok(Vec::new()),
            "00000" => Err(Error::Invalid("there is no such postcode".into())),
            _ => Ok(vec![target("a", "Joan Abara"), target("b", "Peter Lindqvist")]),
        }
    }
    fn take_part(&mut self, p: &Participation) -> Result<Outcome> {
        let value = |name: &str| p.fields.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
        match value("name") {
            "" => Err(Error::Invalid("your name is missing".into())),
            "counted" => Ok(Outcome::Counted),
            "mail" => Ok(Outcome::ConfirmByMail),
            "again" => Ok(Outcome::AlreadyCounted),
            "echo" => Ok(Outcome::HandOff(vec![("seen".into(), format!("{p:?}"))])),
            _ if self.hostile => Ok(Outcome::HandOff(vec![(HOSTILE.into(), HOSTILE.into()), (HOSTILE.into(), "javascript:alert(1)".into())])),
            _ => Ok(Outcome::HandOff(vec![
                ("Joan Abara".into(), "mailto:joan@house.example?subject=What%20we%20buy%20should%20stay%20ours&body=Dear%20Ms%20Abara%2C%0D%0A%0D%0Aplease%20let%20people%20keep%20what%20they%20have%20paid%20for.%0D%0A%0D%0ASam%20Reed".into()),
                ("Peter Lindqvist".into(), "https://house.example/contact".into()),
            ])),
        }
    }
}

/// A shop as it should be.
pub fn shop() -> Host {
    open(false, works())
}

/// The same, and whoever could put words into it meant harm.
pub fn hostile_shop() -> Host {
    let works = works().into_iter().map(|mut w| {
        for text in [&mut w.title, &mut w.description, &mut w.release, &mut w.published] {
            *text = HOSTILE.to_owned();
        }
        for list in [&mut w.creators, &mut w.tags] {
            *list = vec![HOSTILE.to_owned()];
        }
        w.credits = vec![(HOSTILE.into(), HOSTILE.into())];
        w.license = Some(HOSTILE.into());
        w.language = Some(HOSTILE.into());
        for f in &mut w.files {
            f.path = format!("{HOSTILE}/{HOSTILE}");
            f.title = f.title.take().map(|_| HOSTILE.to_owned());
        }
        for o in &mut w.offers {
            o.id = HOSTILE.into();
            o.price.asset = HOSTILE.into();
            o.terms.territories = vec![HOSTILE.into()];
            o.terms.available_until = Some(HOSTILE.into());
        }
        w
    });
    let host = open(true, works.collect());
    let mut brand = fondaco_sdk::settings::brand();
    brand.name = HOSTILE.into();
    brand.tagline = HOSTILE.into();
    brand.contact = Some(format!("{HOSTILE}@x"));
    brand.base_url = HOSTILE.into();
    host.brand(brand);
    host.settings(&serde_json::json!({ "welcome": { "en": HOSTILE }, "about": { "en": HOSTILE }, "country": HOSTILE }));
    host
}

fn open(hostile: bool, works: Vec<Work>) -> Host {
    let host = Host::install();
    for work in works {
        host.work(work);
    }
    let mut brand = fondaco_sdk::settings::brand();
    brand.name = "Night Owl".into();
    brand.tagline = "Records, books and other things that keep you up".into();
    brand.contact = Some("hello@nightowl.example".into());
    host.brand(brand);
    host.discovery(Finder { hostile }).commerce(Till { hostile, owned: true }).campaigns(Speakers { hostile });
    host
}

/// The same shop to a visitor who owns nothing.
pub fn empty_library(host: &Host) {
    host.commerce(Till { hostile: false, owned: false });
}

fn visitor(request: Request) -> Request {
    request.with_header("fondaco-session", "visitor").with_header("fondaco-csrf", "token")
}

/// What the shop answers to a visitor.
pub fn get(target: &str) -> fondaco_sdk::Response {
    Shelf::handle(visitor(Request::get(target)))
}

/// What it answers to a form.
pub fn post(target: &str, fields: &[(&str, &str)]) -> fondaco_sdk::Response {
    Shelf::handle(visitor(Request::post(target, fields)))
}

/// The fields of a form, by name.
type Fields = &'static [(&'static str, &'static str)];

/// Every page that there is, by a name, as each is asked for.
pub fn every_page(lang: &str) -> Vec<(String, fondaco_sdk::Response)> {
    let with = |path: &str| format!("{path}{}lang={lang}", if path.contains('?') { '&' } else { '?' });
    let work = format!("/works/{PUBLISHER}/grain-store");
    let gets = [
        ("home", "/".to_owned()),
        ("search", "/search?q=night&kind=album&tag=dusk&language=sv&drm-free=1&cursor=x".to_owned()),
        ("browse", "/search".to_owned()),
        ("nothing-found", "/search?q=nothing".to_owned()),
        ("work", work.clone()),
        ("search-found", "/search?q=night".to_owned()),
        ("work-mirrored", format!("/works/{OTHERS}/mirrored")),
        ("work-lost", format!("/works/{OTHERS}/lost")),
        ("work-sealed", format!("/works/{PUBLISHER}/the-ferry")),
        ("order-open", "/orders/ord_open".to_owned()),
        ("order-pending", "/orders/ord_pending".to_owned()),
        ("order-fulfilled", "/orders/ord_fulfilled".to_owned()),
        ("order-expired", "/orders/ord_expired".to_owned()),
        ("library", "/library?welcome=ord_open".to_owned()),
        ("campaigns", "/campaigns".to_owned()),
        ("campaign", "/campaigns/keep-it?placement=poster-7".to_owned()),
        ("campaign-industry", "/campaigns/keep-it?audience=industry".to_owned()),
        ("about", "/about".to_owned()),
        ("missing", "/no/such/page".to_owned()),
    ];
    let posts: [(&str, String, Fields); 12] = [
        ("buy-refused", format!("{work}/buy"), &[("offer", "none"), ("key", "0123456789abcdef0123456789abcdef")]),
        ("pay-ask", "/orders/ord_open/pay".into(), &[("gateway", "voucher")]),
        ("pay-wrong", "/orders/ord_open/pay".into(), &[("gateway", "voucher"), ("code", "BAD\"<")]),
        ("pay-leave", "/orders/ord_open/pay".into(), &[("gateway", "elsewhere")]),
        ("pay-trap", "/orders/ord_open/pay".into(), &[("gateway", "trap")]),
        ("pay-present", "/orders/ord_open/pay".into(), &[("gateway", "coins")]),
        ("pay-wait", "/orders/ord_open/pay".into(), &[("gateway", "slow")]),
        ("targets", "/campaigns/keep-it/targets".into(), &[("country", "us"), ("postcode", "94110")]),
        ("targets-wrong", "/campaigns/keep-it/targets".into(), &[("country", "us"), ("postcode", "00000")]),
        ("act-wrong", "/campaigns/keep-it/act".into(), &[("action", "write"), ("name", ""), ("body", "mine \"<b>")]),
        ("act-letter", "/campaigns/keep-it/act".into(), &[("action", "write"), ("name", "Sam Reed")]),
        ("act-counted", "/campaigns/keep-it/act".into(), &[("action", "write"), ("name", "counted")]),
    ];
    let gets = gets.into_iter().map(|(name, path)| (name.to_owned(), get(&with(&path))));
    let posts = posts.into_iter().map(|(name, path, fields)| (name.to_owned(), post(&with(&path), fields)));
    gets.chain(posts).collect()
}
