//! The works of the played node: real ones by people who are long gone (`works.toml`), and a few that are odd in ways in
//! which real catalogues are, so that pages meet them before visitors do.

use std::collections::BTreeMap;

use fondaco_runtime::wit::types::{FileInfo, FileRole, Money, Offer, Split, Terms, Work, WorkKind};
use serde::Deserialize;

/// When all of them were published.
pub(crate) const PUBLISHED: &str = "2026-01-31T12:00:00Z";
/// The publisher's key id, as ids of works begin.
pub(crate) const PUBLISHER: &str = "6b69742d7075626c69736865722d6b65792d69642d6f662d33322d6279746573";
/// A title that becomes a script where a page does not escape it.
pub(crate) const HOSTILE: &str = "\"><script>kit()</script><img src=x onerror=kit()>' & {{kit}}";
/// The DRM scheme of the works that have one.
pub(crate) const SCHEME: &str = "org.example.kit-drm";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Seeds {
    work: Vec<Seed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Seed {
    slug: String,
    kind: String,
    title: String,
    creator: String,
    language: String,
    tags: Vec<String>,
    description: String,
    /// In cents; 0 is free.
    cents: u32,
}

fn kind(name: &str) -> WorkKind {
    match name {
        "album" => WorkKind::Album,
        "track" => WorkKind::Track,
        "video" => WorkKind::Video,
        "game" => WorkKind::Game,
        "book" => WorkKind::Book,
        "newspaper-issue" => WorkKind::NewspaperIssue,
        "podcast-episode" => WorkKind::PodcastEpisode,
        "software" => WorkKind::Software,
        _ => WorkKind::Other,
    }
}

/// The works, the newest first, and the bytes of their files by hash.
#[expect(clippy::expect_used, reason = "the file is part of this program, and a test reads it")]
pub(crate) fn catalogue() -> (Vec<Work>, BTreeMap<String, Vec<u8>>) {
    let seeds: Seeds = toml::from_str(include_str!("works.toml")).expect("works.toml is right");
    let mut blobs = BTreeMap::new();
    let mut works: Vec<Work> = seeds.work.iter().map(|seed| work(seed, &mut blobs)).collect();
    works.extend(odd(&works));
    (works, blobs)
}

/// A dozen of the works, to be published on a node: slug, `work.toml`, and the text of the one file.
pub fn seeds() -> Vec<(String, String, String)> {
    let seeds: Seeds = toml::from_str(include_str!("works.toml")).unwrap_or(Seeds { work: vec![] });
    // Every other one, so that kinds and languages differ.
    let some = seeds.work.into_iter().step_by(2).take(12);
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let written = some.map(|s| {
        let language = if s.language.is_empty() { String::new() } else { format!("language = {}\n", quoted(&s.language)) };
        let toml = format!(
            "slug = {}\nkind = {}\ntitle = {}\ncreators = [{}]\ndescription = {}\n{language}tags = {}\nlicense = \"CC0-1.0\"\n\n\
             [[offers]]\nid = \"get\"\nprice = \"{}.{:02} EUR\"\n",
            quoted(&s.slug),
            quoted(&s.kind),
            quoted(&s.title),
            quoted(&s.creator),
            quoted(&s.description),
            serde_json::json!(s.tags),
            s.cents / 100,
            s.cents % 100
        );
        (s.slug, toml, format!("{}\n{}\n\n{}\n", s.title, s.creator, s.description))
    });
    written.collect()
}

fn offer(id: &str, cents: u32, scheme: Option<&str>) -> Offer {
    Offer {
        id: id.into(),
        price: Money { amount: cents.to_string(), asset: "EUR".into(), exponent: 2 },
        suggested: None,
        splits: vec![Split { payee: "publisher".into(), shares: 1, fee: false }],
        terms: Terms {
            scheme: scheme.map(str::to_owned),
            lasts: None,
            devices: scheme.map(|_| 5),
            territories: vec![],
            available_from: None,
            available_until: None,
        },
    }
}

fn work(seed: &Seed, blobs: &mut BTreeMap<String, Vec<u8>>) -> Work {
    let kind = kind(&seed.kind);
    let mut file = |path: &str, media_type: &str, role: FileRole, bytes: Vec<u8>| {
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let size = bytes.len() as u64;
        blobs.insert(hash.clone(), bytes);
        FileInfo {
            path: path.into(),
            hash,
            size,
            media_type: media_type.into(),
            role,
            protection: None,
            title: Some(format!("{}, {path}", seed.title)),
            duration_ms: matches!(role, FileRole::Preview).then_some(30_000),
        }
    };
    let (path, media_type) = match kind {
        WorkKind::Album | WorkKind::Track | WorkKind::PodcastEpisode => ("01.flac", "audio/flac"),
        WorkKind::Video => ("film.webm", "video/webm"),
        WorkKind::Game | WorkKind::Software => ("program.tar.gz", "application/gzip"),
        _ => ("book.epub", "application/epub+zip"),
    };
    let mut files =
        vec![file(path, media_type, FileRole::Content, format!("{} {path}\n", seed.slug).repeat(99).into())];
    if matches!(kind, WorkKind::Album | WorkKind::Track) {
        files.push(file("preview.ogg", "audio/ogg", FileRole::Preview, format!("{} preview", seed.slug).into()));
    }
    if seed.cents % 2 == 1 {
        files.push(file("cover.png", "image/png", FileRole::Cover, format!("{} cover", seed.slug).into()));
    }
    Work {
        id: format!("{PUBLISHER}/{}", seed.slug),
        release: blake3::hash(seed.slug.as_bytes()).to_hex().to_string(),
        kind,
        title: seed.title.clone(),
        creators: vec![seed.creator.clone()],
        description: seed.description.clone(),
        language: (!seed.language.is_empty()).then(|| seed.language.clone()),
        tags: seed.tags.clone(),
        license: (seed.cents == 0).then(|| "CC0-1.0".into()),
        credits: vec![("author".into(), seed.creator.clone())],
        published: PUBLISHED.into(),
        files,
        offers: vec![offer("buy", seed.cents, seed.tags.iter().any(|t| t == "sealed").then_some(SCHEME))],
        metadata: "{}".into(),
    }
}

/// Works that a catalogue has sooner or later.
fn odd(works: &[Work]) -> Vec<Work> {
    let Some(first) = works.first() else { return Vec::new() };
    let like = |slug: &str, title: &str| Work {
        id: format!("{PUBLISHER}/{slug}"),
        release: blake3::hash(slug.as_bytes()).to_hex().to_string(),
        title: title.into(),
        ..first.clone()
    };
    vec![
        Work {
            creators: vec![HOSTILE.into()],
            description: format!("{HOSTILE}\n\n{HOSTILE}"),
            tags: vec![HOSTILE.into()],
            license: Some(HOSTILE.into()),
            credits: vec![(HOSTILE.into(), HOSTILE.into())],
            metadata: serde_json::json!({ "name": format!("</script>{HOSTILE}") }).to_string(),
            ..like("hostile", HOSTILE)
        },
        Work { language: Some("ar".into()), ..like("qasida", "قصيدة الليل والنجوم") },
        Work { creators: vec![], description: String::new(), tags: vec![], ..like("bare", "Bare") },
        Work { offers: vec![], license: None, ..like("not-for-sale", "Not for sale") },
        like("long", &"A very long title that goes on and on ".repeat(8)),
        Work {
            offers: (1..=12).map(|i| offer(&format!("tier-{i}"), i * 100, None)).collect(),
            ..like("tiers", "Twelve ways to buy")
        },
        Work {
            files: (1..=60)
                .filter_map(|i| Some(FileInfo { path: format!("disc 1/{i:02}.flac"), ..first.files.first()?.clone() }))
                .collect(),
            ..like("box-set", "Sixty files")
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_whole() {
        let (works, blobs) = catalogue();
        assert!(works.len() >= 30, "{}", works.len());
        let ids: std::collections::BTreeSet<_> = works.iter().map(|w| &w.id).collect();
        assert_eq!(ids.len(), works.len());
        assert!(works.iter().flat_map(|w| &w.files).all(|f| blobs.contains_key(&f.hash)));
        for kind in [WorkKind::Album, WorkKind::Book, WorkKind::Video, WorkKind::Game, WorkKind::Software] {
            assert!(works.iter().any(|w| w.kind == kind), "{kind:?}");
        }
        assert!(works.iter().any(|w| w.offers.iter().any(|o| o.terms.scheme.is_some())));
        assert!(works.iter().any(|w| w.offers.iter().any(|o| o.price.amount == "0")));
    }
}
