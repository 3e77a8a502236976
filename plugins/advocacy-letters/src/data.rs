//! What lies in `assets/`: campaigns and target packs. A file with a mistake is left out and harms no other; the
//! operator's tool `check` shows what is wrong with it.

use fondaco_schemas::{Problem, Problems};
use fondaco_sdk::{Error, Result, assets};

use crate::campaign::{Audience, Campaign};
use crate::name::{Country, Division, Id, Postcode};
use crate::pack::{Pack, Role, Target, parse_postcodes};

const CAMPAIGNS: &str = "campaigns/";
const TARGETS: &str = "targets/";

/// The names of the files `<folder><name><ending>`; a name that is none is answered as it is.
fn names(folder: &str, ending: &str) -> Result<Vec<std::result::Result<Id, Problems>>> {
    let path = |path: String| {
        let name = path.strip_prefix(folder)?.strip_suffix(ending)?.to_owned();
        Some(name.parse().map_err(|why| wrong(&path, 1, format!("the file's name is no id: {why}"))))
    };
    Ok(assets::paths(folder)?.into_iter().filter_map(path).collect())
}

fn wrong(file: &str, line: usize, text: String) -> Problems {
    Problems { file: file.to_owned(), list: vec![Problem { line, column: 1, text }] }
}

/// A file as text; `None` where it is absent.
fn text(path: &str) -> Result<Option<std::result::Result<String, Problems>>> {
    match assets::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8(bytes).map_err(|_| wrong(path, 1, "the file is no UTF-8 text".into())))),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_campaign(id: &Id) -> Result<std::result::Result<Campaign, Problems>> {
    let path = format!("{CAMPAIGNS}{id}.toml");
    let text = text(&path)?.ok_or(Error::NotFound)?;
    Ok(text.and_then(|text| Campaign::parse(id.clone(), &path, &text)))
}

fn read_pack(id: &Id) -> Result<std::result::Result<Pack, Problems>> {
    let path = format!("{TARGETS}{id}.toml");
    let Some(file) = text(&path)? else { return Ok(Err(wrong(&path, 1, "there is no such file".into()))) };
    let mut pack = match file.and_then(|text| Pack::parse(&path, &text)) {
        Ok(pack) => pack,
        Err(problems) => return Ok(Err(problems)),
    };
    let path = format!("{TARGETS}{id}.csv");
    if let Some(file) = text(&path)? {
        match file.and_then(|text| parse_postcodes(&path, &text, pack.country.as_ref())) {
            Ok(postcodes) => pack.postcodes = postcodes,
            Err(problems) => return Ok(Err(problems)),
        }
    }
    Ok(Ok(pack))
}

/// A campaign that can be shown.
pub fn campaign(id: &str) -> Result<Campaign> {
    let id: Id = id.parse().map_err(|_| Error::NotFound)?;
    read_campaign(&id)?.map_err(|_| {
        Error::Unavailable(format!("the file of campaign {id} has a mistake; the operator's tool \"check\" shows it"))
    })
}

/// All campaigns that can be shown, by id.
pub fn campaigns() -> Result<Vec<Campaign>> {
    let ids = names(CAMPAIGNS, ".toml")?.into_iter().flatten();
    let mut found = Vec::new();
    for id in ids {
        found.extend(read_campaign(&id)?);
    }
    Ok(found)
}

/// Everyone whom a campaign writes to.
#[derive(Debug)]
pub struct Directory {
    packs: Vec<Pack>,
}

impl Directory {
    /// Reads the campaign's packs; one with a mistake is left out.
    pub fn of(campaign: &Campaign) -> Result<Self> {
        let mut packs = Vec::new();
        for id in &campaign.packs {
            packs.extend(read_pack(id)?);
        }
        Ok(Self { packs })
    }

    /// The target of this id.
    pub fn find(&self, id: &str) -> Option<&Target> {
        self.all().find(|t| t.id.as_str() == id)
    }

    fn all(&self) -> impl Iterator<Item = &Target> {
        self.packs.iter().flat_map(|p| &p.targets)
    }

    /// Every company, then the representatives of the divisions that the postcode lies in and of what holds these: a
    /// district, its state, its country.
    pub fn around(&self, country: Option<&Country>, postcode: Option<&Postcode>) -> Vec<&Target> {
        let companies = self.all().filter(|t| t.role == Role::Company);
        let Some(country) = country else { return companies.collect() };
        let mut divisions = vec![Division::country(country)];
        for pack in self.packs.iter().filter(|p| p.country.as_ref() == Some(country)) {
            let found = postcode.into_iter().flat_map(|p| pack.postcodes.iter().flat_map(|r| r.divisions(p)));
            divisions.extend(found.cloned());
        }
        let theirs = |t: &Target| t.division.as_ref().is_some_and(|d| divisions.iter().any(|lies_in| d.holds(lies_in)));
        companies.chain(self.all().filter(|t| t.role == Role::Representative && theirs(t))).collect()
    }
}

/// The words of one audience, in a language that is there.
pub fn words<'a>(audience: &'a Audience, locale: &crate::name::Locale) -> Result<&'a crate::campaign::Words> {
    let words = audience.text.get(locale);
    words.ok_or_else(|| Error::Internal(format!("audience {} has no words in {locale}", audience.id)))
}

/// What is wrong with the files, one line for each mistake, and how many files were read.
pub fn check() -> Result<(usize, Vec<String>)> {
    let mut lines = Vec::new();
    let mut files = 0;
    let mut owners: std::collections::BTreeMap<Id, Pack> = std::collections::BTreeMap::new();
    for name in names(TARGETS, ".toml")? {
        files += 1;
        match name {
            Err(problems) => lines.push(problems.to_string()),
            Ok(id) => match read_pack(&id)? {
                Ok(pack) => drop(owners.insert(id, pack)),
                Err(problems) => lines.push(problems.to_string()),
            },
        }
    }
    let toml: Vec<Id> = names(TARGETS, ".toml")?.into_iter().flatten().collect();
    for name in names(TARGETS, ".csv")? {
        files += 1;
        match name {
            Err(problems) => lines.push(problems.to_string()),
            Ok(id) if !toml.contains(&id) => {
                lines.push(
                    wrong(&format!("{TARGETS}{id}.csv"), 1, format!("there is no {id}.toml beside it")).to_string(),
                );
            }
            Ok(_) => {}
        }
    }
    for name in names(CAMPAIGNS, ".toml")? {
        files += 1;
        let problems = match name {
            Err(problems) => Some(problems),
            Ok(id) => match read_campaign(&id)? {
                Ok(campaign) => whole(&campaign, &owners, &toml),
                Err(problems) => Some(problems),
            },
        };
        lines.extend(problems.map(|p| p.to_string()));
    }
    Ok((files, lines))
}

/// What a campaign and its packs get wrong together.
fn whole(campaign: &Campaign, packs: &std::collections::BTreeMap<Id, Pack>, files: &[Id]) -> Option<Problems> {
    let mut list = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    for id in &campaign.packs {
        if !files.contains(id) {
            list.push(format!("packs: there is no {TARGETS}{id}.toml"));
        }
        for target in packs.get(id).into_iter().flat_map(|p| &p.targets) {
            if let Some(other) = seen.insert(&target.id, id) {
                list.push(format!(
                    "packs: {other} and {id} both have a target {}, and only the first is found",
                    target.id
                ));
            }
        }
    }
    let list: Vec<_> = list.into_iter().map(|text| Problem { line: 1, column: 1, text }).collect();
    (!list.is_empty()).then(|| Problems { file: format!("{CAMPAIGNS}{}.toml", campaign.id), list })
}
