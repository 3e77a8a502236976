//! Target packs: who can be written to. `targets/<pack>.toml` lists companies and representatives,
//! `targets/<pack>.csv` says which postcodes lie in which divisions.

use std::collections::BTreeMap;
use std::str::FromStr;

use fondaco_schemas::problem::{Table, read};
use fondaco_schemas::{Problem, Problems};

use crate::name::{Country, Division, Id, Mail, Postcode};

/// The first line of a file of postcodes.
pub const POSTCODES_HEADER: &str = "from,to,divisions";
/// Beyond this many mistakes of one file the rest is not looked for.
const MAX_PROBLEMS: usize = 50;

/// Whom a target speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Itself: it can be written to from everywhere.
    Company,
    /// The people of a division.
    Representative,
}

impl FromStr for Role {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "company" => Ok(Self::Company),
            "representative" => Ok(Self::Representative),
            _ => Err("write \"company\" or \"representative\""),
        }
    }
}

/// How a target is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// A mail address.
    Mail,
    /// The address of a web form.
    Webform,
    /// A telephone number.
    Phone,
    /// A postal address; its lines are parted by line breaks.
    Postal,
}

impl Channel {
    /// Its name in files and in the interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webform => "webform",
            Self::Phone => "phone",
            Self::Postal => "postal",
        }
    }

    fn check(self, value: &str) -> Result<(), &'static str> {
        let plain = !value.is_empty() && value.len() <= 500 && !value.chars().any(|c| c.is_control() && c != '\n');
        match self {
            Self::Mail => value.parse::<Mail>().map(drop),
            Self::Webform if plain && value.starts_with("https://") && !value.contains([' ', '\n', '"', '<', '>']) => {
                Ok(())
            }
            Self::Webform => Err("write an address that begins with https://"),
            Self::Phone if plain && value.chars().all(|c| c.is_ascii_digit() || "+ ()-".contains(c)) => Ok(()),
            Self::Phone => Err("write digits, spaces, '+', '-' and brackets"),
            Self::Postal if plain => Ok(()),
            Self::Postal => Err("write at most 500 bytes of text"),
        }
    }
}

impl FromStr for Channel {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Mail, Self::Webform, Self::Phone, Self::Postal];
        all.into_iter().find(|c| c.as_str() == text).ok_or("channels are mail, webform, phone and postal")
    }
}

/// Someone who can be written to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in the pack, and in every pack of a campaign.
    pub id: Id,
    /// Company or representative.
    pub role: Role,
    /// The person, or the company itself.
    pub name: String,
    /// What the person is there, such as `Member for North`; may be empty.
    pub post: String,
    /// The company, chamber or office.
    pub organisation: String,
    /// Whom a representative represents, or where a company sits.
    pub division: Option<Division>,
    /// At least one.
    pub channels: BTreeMap<Channel, String>,
}

/// A pack that was read and checked.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Whose postcodes and divisions it has.
    pub country: Option<Country>,
    /// In the order of the file.
    pub targets: Vec<Target>,
    /// Which postcodes lie where.
    pub postcodes: Vec<Range>,
}

/// Postcodes from one to another, both included, and the divisions that they lie in.
#[derive(Clone, Debug)]
pub struct Range {
    from: Postcode,
    to: Postcode,
    divisions: Vec<Division>,
}

impl Range {
    /// The divisions of a postcode. A longer one counts by its beginning, so that `12345-6789` lies where `12345` does.
    pub fn divisions(&self, postcode: &Postcode) -> &[Division] {
        let beginning = postcode.as_str().get(..self.from.as_str().len());
        let inside = beginning.is_some_and(|p| self.from.as_str() <= p && p <= self.to.as_str());
        if inside { &self.divisions } else { &[] }
    }
}

impl Pack {
    /// Reads `targets/<pack>.toml`, or tells every mistake with line and column. `postcodes` are read apart.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        read(file, text, |t| Some(Self::read(t)))
    }

    fn read(t: &mut Table<'_>) -> Self {
        let schema: Option<u64> = t.number("schema");
        if schema != Some(1) {
            t.problem("schema", "this plugin reads schema = 1");
        }
        // Where the data come from, for those who check and renew them. The plugin itself has no use for it.
        let _: Option<String> = t.text("source");
        let country: Option<Country> = t.optional("country");
        let targets = t.tables("target", |t| Target::read(t, country.as_ref()));
        let mut seen = Vec::new();
        for target in &targets {
            if seen.contains(&&target.id) {
                t.problem("target", format!("two targets have the id {}", target.id));
            }
            seen.push(&target.id);
        }
        if targets.is_empty() && !t.has("target") {
            t.problem("target", "there is no [[target]]");
        }
        Self { country, targets, postcodes: Vec::new() }
    }
}

impl Target {
    fn read(t: &mut Table<'_>, country: Option<&Country>) -> Option<Self> {
        let (id, role): (_, Option<Role>) = (t.required("id"), t.required("kind"));
        let (name, post, organisation) = (line(t, "name", true), line(t, "post", false), line(t, "organisation", true));
        let division: Option<Division> = t.optional("division");
        if role == Some(Role::Representative) && division.is_none() && !t.has("division") {
            t.problem("division", "a representative needs a division: whom do they represent?");
        }
        if let Some(division) = &division
            && !country.is_some_and(|c| Division::country(c).holds(division))
        {
            t.problem("division", format!("{division} does not lie in the pack's country"));
        }
        let channels: BTreeMap<Channel, String> = t.texts("channels");
        for (channel, value) in &channels {
            if let Err(why) = channel.check(value) {
                t.problem("channels", format!("channels.{}: {why}", channel.as_str()));
            }
        }
        if channels.is_empty() && !t.has("channels") {
            t.problem("channels", "a target needs a channel: channels.mail, .webform, .phone or .postal");
        }
        let (name, post, organisation) = (name?, post.unwrap_or_default(), organisation?);
        Some(Self { id: id?, role: role?, name, post, organisation, division, channels })
    }
}

/// A name that fits into one line of a letter and into a header.
fn line(t: &mut Table<'_>, key: &'static str, required: bool) -> Option<String> {
    let text: String = if required { t.text(key)? } else { t.optional(key)? };
    if text.len() > 200 || text.chars().any(char::is_control) {
        t.problem(key, format!("{key} must be one line of at most 200 bytes"));
    }
    Some(text)
}

/// Reads `targets/<pack>.csv`: [`POSTCODES_HEADER`], then a line for each range. Divisions are parted by spaces: where
/// a postcode lies in several, all are named.
pub fn parse_postcodes(file: &str, text: &str, country: Option<&Country>) -> Result<Vec<Range>, Problems> {
    let mut list = Vec::new();
    let mut ranges = Vec::new();
    let mut lines = text.lines().map(|l| l.trim_end_matches('\r')).zip(1..);
    if lines.next().map(|(l, _)| l.trim_start_matches('\u{feff}')) != Some(POSTCODES_HEADER) {
        list.push(Problem { line: 1, column: 1, text: format!("the first line must be {POSTCODES_HEADER}") });
    }
    for (text, line) in lines.filter(|(l, _)| !l.trim().is_empty()) {
        match range(text, country) {
            Ok(range) => ranges.push(range),
            Err(text) => list.push(Problem { line, column: 1, text }),
        }
        if list.len() >= MAX_PROBLEMS {
            break;
        }
    }
    if list.is_empty() { Ok(ranges) } else { Err(Problems { file: file.to_owned(), list }) }
}

fn range(text: &str, country: Option<&Country>) -> Result<Range, String> {
    let mut cells = text.split(',');
    let (Some(from), Some(to), Some(divisions), None) = (cells.next(), cells.next(), cells.next(), cells.next()) else {
        return Err(format!("a line has three fields: {POSTCODES_HEADER}"));
    };
    let postcode = |name: &str, text: &str| text.parse::<Postcode>().map_err(|why| format!("{name}: {why}"));
    let (from, to) = (postcode("from", from)?, postcode("to", to)?);
    if from.as_str().len() != to.as_str().len() || from > to {
        return Err(format!("from {from} to {to} is no range: write two postcodes of one length, the lower one first"));
    }
    let mut lies_in = Vec::new();
    for text in divisions.split_whitespace() {
        let division: Division = text.parse().map_err(|why| format!("divisions: {why}"))?;
        if !country.is_some_and(|c| Division::country(c).holds(&division)) {
            return Err(format!("divisions: {division} does not lie in the pack's country"));
        }
        lies_in.push(division);
    }
    if lies_in.is_empty() {
        return Err("divisions: name at least one".to_owned());
    }
    Ok(Range { from, to, divisions: lies_in })
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
