//! A campaign as its file tells it: `campaigns/<id>.toml`. One campaign speaks to several audiences, each in its own
//! words; what it says it says in every language that it names.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fondaco_schemas::Problems;
use fondaco_schemas::problem::{Table, read};

use crate::day::Day;
use crate::fill::placeholders;
use crate::name::{Id, Locale};

/// Texts by language.
pub type ByLocale<T> = BTreeMap<Locale, T>;

/// What people may be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Write to companies and representatives.
    Letter,
    /// Sign a demand.
    Petition,
    /// Promise something.
    Pledge,
    /// Show, without a name, that one has bought.
    PurchaseProof,
    /// Tell others.
    Share,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Letter, Self::Petition, Self::Pledge, Self::PurchaseProof, Self::Share];
    /// Its name in files and in the interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Letter => "letter",
            Self::Petition => "petition",
            Self::Pledge => "pledge",
            Self::PurchaseProof => "purchase-proof",
            Self::Share => "share",
        }
    }
    /// Can it be confirmed by mail?
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::Petition | Self::Pledge)
    }
}

impl FromStr for Kind {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|k| k.as_str() == text);
        found.ok_or("write \"letter\", \"petition\", \"pledge\", \"purchase-proof\" or \"share\"")
    }
}

/// A campaign that was read and checked.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The name of its file.
    pub id: Id,
    /// Its first day.
    pub opens: Day,
    /// Its last day.
    pub closes: Option<Day>,
    /// How many are to take part.
    pub goal: Option<u64>,
    /// The language for those whose own is not there.
    pub locale: Locale,
    /// The target packs that are written to.
    pub packs: Vec<Id>,
    /// Which purchases stand as proof.
    pub purchases: Purchases,
    /// Who is behind it.
    pub notice: Notice,
    /// What it is called.
    pub text: ByLocale<Text>,
    /// At least one; the first is for those who name none.
    pub audiences: Vec<Audience>,
    /// What people agree to when something about them is kept.
    pub consents: Vec<Consent>,
    /// At least one.
    pub actions: Vec<Action>,
}

/// Which settled purchases are counted.
#[derive(Clone, Debug, Default)]
pub struct Purchases {
    /// Of works with this tag only.
    pub tag: Option<String>,
    /// Since this day only.
    pub since: Option<Day>,
}

/// The legal notice. `{brand}` stands for the deployment's name, `{base}` for its address.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Who speaks.
    pub sponsor: String,
    /// Is it a paid advertisement?
    pub paid: bool,
    /// The law or decision that it is about.
    pub process: String,
    /// Where the whole notice is.
    pub url: String,
    /// For how long after the campaign what is kept on a person is kept.
    pub retention_days: u32,
}

/// What a campaign is called.
#[derive(Clone, Debug)]
pub struct Text {
    /// Its title.
    pub title: String,
    /// One or two sentences.
    pub summary: String,
    /// What people pass on.
    pub share: String,
}

/// Whom a campaign speaks to.
#[derive(Clone, Debug)]
pub struct Audience {
    /// `public`, `industry`, `legislators`.
    pub id: Id,
    /// What they are told.
    pub text: ByLocale<Words>,
    /// What they may send; empty where the campaign has no letters.
    pub letter: ByLocale<Draft>,
}

/// What one audience is told.
#[derive(Clone, Debug)]
pub struct Words {
    /// Headline.
    pub title: String,
    /// The claim, in large letters.
    pub claim: String,
    /// Markdown.
    pub body: String,
    /// What to do now.
    pub call: String,
    /// The sentence that stands for `{proof}`, with the sums.
    pub proof: String,
    /// The sentence that stands for `{proof}` where sums are withheld.
    pub without_proof: String,
}

/// A letter to begin from.
#[derive(Clone, Debug)]
pub struct Draft {
    /// One line.
    pub subject: String,
    /// Without signature, which is added.
    pub body: String,
}

/// What people agree to.
#[derive(Clone, Debug)]
pub struct Consent {
    /// Its name.
    pub id: Id,
    /// Is nothing kept without it?
    pub required: bool,
    /// The very words.
    pub text: ByLocale<String>,
}

/// What people can do.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its name.
    pub id: Id,
    /// Of what kind.
    pub kind: Kind,
    /// What the button says.
    pub label: ByLocale<String>,
}

/// The placeholders of each text.
const IN_BODY: &[&str] = &["proof", "brand"];
const IN_PROOF: &[&str] = &["purchases", "buyers", "brand"];
const IN_NOTICE: &[&str] = &["brand", "base"];
/// The placeholders of a letter.
pub const IN_LETTER: &[&str] = &["target", "post", "organisation", "name", "proof", "brand"];

const LINE: usize = 200;
const PARAGRAPH: usize = 1_000;
const BODY: usize = 12_000;

impl Campaign {
    /// Reads `campaigns/<id>.toml`, or tells every mistake with line and column.
    pub fn parse(id: Id, file: &str, text: &str) -> Result<Self, Problems> {
        read(file, text, |t| Self::read(id, t))
    }

    fn read(id: Id, t: &mut Table<'_>) -> Option<Self> {
        let schema: Option<u64> = t.number("schema");
        if schema != Some(1) {
            t.problem("schema", "this plugin reads schema = 1");
        }
        let (opens, closes): (Option<Day>, Option<Day>) = (t.required("opens"), t.optional("closes"));
        if closes.zip(opens).is_some_and(|(closes, opens)| closes < opens) {
            t.problem("closes", "the campaign closes before it opens");
        }
        let goal = t.number("target");
        let locale: Option<Locale> = t.required("locale");
        let packs = t.list("packs");
        let purchases = t
            .table("purchases", |t| Purchases { tag: t.optional("tag"), since: t.optional("since") })
            .unwrap_or_default();
        let notice = t.table("notice", Notice::read);
        if notice.is_none() {
            t.problem("notice", "\"notice\" is missing: say who speaks in [notice]");
        }
        let text = t.map("text", |_: &Locale, t| Text::read(t));
        if let Some(locale) = locale.as_ref().filter(|l| !text.contains_key(*l)) {
            t.problem("locale", format!("locale is {locale}, and there is no [text.{locale}]"));
        }
        let audiences = t.tables("audience", |t| Audience::read(t, &text));
        let consents = t.tables("consent", |t| {
            let (id, required) = (t.required("id"), t.flag("required").unwrap_or(false));
            Some(Consent { id: id?, required, text: texts(t, "text", PARAGRAPH, &text) })
        });
        let actions = t.tables("action", |t| {
            let (id, kind) = (t.required("id"), t.required("kind"));
            Some(Action { id: id?, kind: kind?, label: texts(t, "label", LINE, &text) })
        });
        unique(t, "audience", audiences.iter().map(|a| &a.id));
        unique(t, "consent", consents.iter().map(|c| &c.id));
        unique(t, "action", actions.iter().map(|a| &a.id));
        for (key, empty) in [("audience", audiences.is_empty()), ("action", actions.is_empty())] {
            if empty && !t.has(key) {
                t.problem(key, format!("there is no [[{key}]], and a campaign needs at least one"));
            }
        }
        let campaign = Self {
            id,
            opens: opens?,
            closes,
            goal,
            locale: locale?,
            packs,
            purchases,
            notice: notice??,
            text,
            audiences,
            consents,
            actions,
        };
        campaign.check(t);
        Some(campaign)
    }

    /// What only the whole can tell.
    fn check(&self, t: &Table<'_>) {
        let letters = self.actions.iter().any(|a| a.kind == Kind::Letter);
        if letters && self.packs.is_empty() {
            t.problem("packs", "a letter needs someone to write to: packs = [\"<name of a file in targets/>\"]");
        }
        for audience in self.audiences.iter().filter(|a| letters && a.letter.is_empty()) {
            t.problem(
                "audience",
                format!("audience {}: an action is a letter, and there is no [audience.letter]", audience.id),
            );
        }
        let signed = self.actions.iter().any(|a| a.kind.is_signed());
        if signed && !self.consents.iter().any(|c| c.required) {
            t.problem("consent", "a petition or pledge keeps an address when it is confirmed by mail: a [[consent]] with required = true is needed");
        }
    }

    /// Is it open on this day?
    pub fn is_open(&self, day: Day) -> bool {
        self.opens <= day && self.closes.is_none_or(|closes| day <= closes)
    }
    /// The audience of this name, or the first.
    pub fn audience(&self, id: Option<&str>) -> Option<&Audience> {
        self.find_audience(id.unwrap_or_default()).or(self.audiences.first())
    }
    /// The audience of this very name.
    pub fn find_audience(&self, id: &str) -> Option<&Audience> {
        self.audiences.iter().find(|a| a.id.as_str() == id)
    }
    /// The language to answer in: the one that is asked for, its base language, the deployment's, the campaign's.
    pub fn locale_for(&self, asked: &str, deployment: &str) -> &Locale {
        let has = |tag: &str| self.text.keys().find(|l| l.as_str() == tag);
        let base = |tag: &str| has(tag).or_else(|| has(tag.split('-').next().unwrap_or_default()));
        base(asked).or_else(|| base(deployment)).unwrap_or(&self.locale)
    }
    /// The last day on which what is kept on someone who takes part on `day` is kept.
    pub fn kept_until(&self, day: Day) -> Day {
        self.closes.unwrap_or(day).max(day).plus(self.notice.retention_days)
    }
}

impl Notice {
    fn read(t: &mut Table<'_>) -> Option<Self> {
        let sponsor = worded(t, "sponsor", LINE, IN_NOTICE);
        let (paid, process) = (t.flag("paid"), worded(t, "process", LINE, &[]));
        let url = worded(t, "url", LINE, IN_NOTICE);
        if url.as_deref().is_some_and(|u| !u.starts_with("https://") && !u.starts_with("{base}/")) {
            t.problem("url", "notice.url must begin with https:// or {base}/");
        }
        if paid.is_none() && !t.has("paid") {
            t.problem("paid", "\"notice.paid\" is missing: is it a paid advertisement?");
        }
        let retention_days = t.number("retention-days");
        if !retention_days.is_some_and(|days| (1..=3_650).contains(&days)) {
            t.problem("retention-days", "notice.retention-days must be from 1 to 3650");
        }
        Some(Self { sponsor: sponsor?, paid: paid?, process: process?, url: url?, retention_days: retention_days? })
    }
}

impl Text {
    fn read(t: &mut Table<'_>) -> Option<Self> {
        let (title, summary) = (worded(t, "title", LINE, &[]), worded(t, "summary", PARAGRAPH, &["brand"]));
        let share = worded(t, "share", PARAGRAPH, &["brand"]);
        Some(Self { title: title?, summary: summary?, share: share? })
    }
}

impl Audience {
    fn read<T>(t: &mut Table<'_>, locales: &ByLocale<T>) -> Option<Self> {
        let id = t.required("id");
        let text = t.map("text", |_: &Locale, t| {
            let (title, claim) = (worded(t, "title", LINE, &[]), worded(t, "claim", LINE, &["brand"]));
            let (body, call) = (worded(t, "body", BODY, IN_BODY), worded(t, "call", PARAGRAPH, &["brand"]));
            let (proof, without) =
                (worded(t, "proof", PARAGRAPH, IN_PROOF), worded(t, "without-proof", PARAGRAPH, &["brand"]));
            Some(Words {
                title: title?,
                claim: claim?,
                body: body?,
                call: call?,
                proof: proof?,
                without_proof: without?,
            })
        });
        let letter = t.map("letter", |_: &Locale, t| {
            let (subject, body) = (worded(t, "subject", LINE, IN_LETTER), worded(t, "body", BODY, IN_LETTER));
            if subject.as_deref().is_some_and(|s| s.contains('\n')) {
                t.problem("subject", "a subject has one line");
            }
            Some(Draft { subject: subject?, body: body? })
        });
        complete(t, "text", &text, locales);
        if t.has("letter") {
            complete(t, "letter", &letter, locales);
        }
        Some(Self { id: id?, text, letter })
    }
}

/// A text with nothing in it that could surprise: bounded (in characters), printable, with known placeholders only.
fn worded(t: &mut Table<'_>, key: &'static str, most: usize, known: &[&str]) -> Option<String> {
    let text = t.text(key)?;
    let count = text.chars().count();
    if count > most {
        t.problem(key, format!("{key} has {count} characters, and at most {most} are taken"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        t.problem(key, format!("{key} has control characters"));
    }
    for name in placeholders(&text).filter(|n| !known.contains(n)) {
        let list = known.iter().map(|k| format!("{{{k}}}")).collect::<Vec<_>>().join(", ");
        let list = if list.is_empty() { "none".to_owned() } else { list };
        t.problem(key, format!("{key} has the unknown placeholder {{{name}}}; known here: {list}"));
    }
    Some(text)
}

/// A table of texts by language, in all of the campaign's languages.
fn texts<T>(t: &mut Table<'_>, key: &'static str, most: usize, locales: &ByLocale<T>) -> ByLocale<String> {
    let map: ByLocale<String> = t.texts(key);
    for (locale, text) in &map {
        if text.trim().is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
            t.problem(key, format!("{key}.{locale} must be a text of 1 to {most} characters in one line"));
        }
    }
    complete(t, key, &map, locales);
    map
}

fn complete<T, U>(t: &Table<'_>, key: &str, map: &ByLocale<T>, locales: &ByLocale<U>) {
    for locale in locales.keys().filter(|l| !map.contains_key(*l)) {
        t.problem(key, format!("{key} has nothing in {locale}, which the campaign's [text] names"));
    }
    for locale in map.keys().filter(|l| !locales.contains_key(*l)) {
        t.problem(key, format!("{key} speaks {locale}, and there is no [text.{locale}]"));
    }
}

fn unique<'a>(t: &Table<'_>, key: &str, ids: impl Iterator<Item = &'a Id>) {
    let mut seen = Vec::new();
    for id in ids {
        if seen.contains(&id) {
            t.problem(key, format!("two of [[{key}]] have the id {id}"));
        }
        seen.push(id);
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
#[path = "campaign_tests.rs"]
mod tests;
