use super::*;

pub(crate) const FULL: &str = r#"slug = "night-owl"
kind = "album"
title = "Night Owl"
creators = ["Ada"]
description = "Songs."
language = "en"
tags = ["jazz"]
license = "CC-BY-4.0"
[[credits]]
role = "music"
name = "Ada"
[[offers]]
id = "buy"
price = "4.99 EUR"
suggested = "7 EUR"
[[offers.splits]]
payee = "ada"
shares = 3
fee = false
[offers.terms]
scheme = "org.fondaco.drm-sealed"
lasts = "30d"
devices = 3
territories = ["FR", "DE"]
available-from = "2030-01-01T00:00:00Z"
available-until = "2031-01-01T00:00:00Z"
[[files]]
path = "tracks/*.mp3"
role = "content"
title = "A track"
media-type = "audio/mpeg"
skip = false
[metadata]
byArtist = "Ada"
"#;

#[test]
fn reads_every_key() {
    let file = WorkFile::parse(FULL).unwrap();
    let offer = file.offers[0].to_offer();
    assert_eq!(offer.price.to_string(), "4.99 EUR");
    assert_eq!(offer.terms.lasts, Some(30 * 86_400), "seconds");
    assert_eq!(offer.terms.scheme.as_deref(), Some("org.fondaco.drm-sealed"));
    assert_eq!(file.rule("tracks/01.mp3").unwrap().role, Some(FileRole::Content));
    assert!(file.rule("tracks/more/01.mp3").is_none());
    assert_eq!(file.metadata["byArtist"], "Ada");
    assert!(WorkFile::parse("slug = \"a\"\nkind = \"book\"\ntitle = \"A\"\n").unwrap().offers.is_empty());
}

#[test]
fn lists_every_mistake() {
    let text = FULL
        .replace("night-owl", "Night Owl")
        .replace("\"album\"", "\"albun\"")
        .replace("4.99 EUR", "4.999 EUR")
        .replace("shares = 3", "share = 3")
        .replace("30d", "a month")
        .replace("\"DE\"", "\"Germany\"")
        .replace("2031", "2029")
        .replace("\"content\"", "\"contents\"")
        .replace("tracks/*", "../*");
    let refused = WorkFile::parse(&text).unwrap_err();
    let lines: Vec<_> = refused.list.iter().map(|p| p.line).collect();
    assert_eq!(lines, [1, 2, 14, 16, 18, 22, 24, 26, 28, 29], "{refused}");
    for words in ["did you mean \"album\"?", "did you mean \"content\"?", "did you mean \"shares\"?"] {
        assert!(refused.to_string().contains(words), "{refused}");
    }
    let refused = WorkFile::parse(&FULL.replace("7 EUR", "4 EUR")).unwrap_err().to_string();
    assert!(refused.contains("4.00 EUR is suggested, which must be 4.99 EUR or more"), "{refused}");
    let twice = "[[offers]]\nid = \"buy\"\nprice = \"1 EUR\"\n[metadata]";
    let refused = WorkFile::parse(&FULL.replace("[metadata]", twice)).unwrap_err().to_string();
    assert!(refused.contains("two offers have the id \"buy\""), "{refused}");
}

#[test]
fn kinds_and_roles_know_all_their_names() {
    for kind in ["album", "track", "video", "game", "book", "newspaper-issue", "podcast-episode", "software", "other"] {
        assert_eq!(kind.parse::<Kind>().unwrap().0.as_str(), kind);
    }
    for role in ["content", "preview", "cover", "booklet", "subtitle", "source"] {
        assert!(role.parse::<Role>().is_ok(), "{role}");
    }
}

#[test]
fn patterns_fit_as_in_a_shell() {
    for (pattern, path, fits) in [
        ("a.mp3", "a.mp3", true),
        ("a.mp3", "b.mp3", false),
        ("*.mp3", "a.mp3", true),
        ("*.mp3", "t/a.mp3", false),
        ("**/*.mp3", "t/u/a.mp3", true),
        ("**/*.mp3", "a.mp3", true),
        ("**", "t/a", true),
        ("t/**/a", "t/a", true),
        ("t/**/a", "t/x/y/a", true),
        ("t/**/a", "t/x/y/b", false),
        ("?.mp3", "é.mp3", true),
        ("?.mp3", ".mp3", false),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxbyy", false),
        ("*", "", true),
    ] {
        assert_eq!(pattern.parse::<Pattern>().unwrap().matches(path), fits, "{pattern} {path}");
    }
    let slow = format!("{}b", "*a".repeat(100));
    assert!(!slow.parse::<Pattern>().unwrap().matches(&"a".repeat(5000)), "and it ends soon");
}
