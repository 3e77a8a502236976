use super::*;

fn problems(text: &str, f: impl FnOnce(&mut Table<'_>) -> Option<()>) -> Vec<String> {
    read("a.toml", text, f).err().map(|p| p.to_string().lines().map(str::to_owned).collect()).unwrap_or_default()
}

#[expect(clippy::unnecessary_wraps, reason = "a reader may give up; this one never does")]
fn any(t: &mut Table<'_>) -> Option<()> {
    t.free("x");
    Some(())
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let read = |t: &mut Table<'_>| {
        let _: Option<String> = t.optional("tagline");
        t.table("brand", |t| t.optional::<String>("base-url"));
        Some(())
    };
    assert_eq!(
        problems("tagine = \"a\"\n\n[brand]\n  base_url = \"b\"\n", read),
        [
            "a.toml:1:1: unknown key \"tagine\": did you mean \"tagline\"?",
            "a.toml:4:3: unknown key \"base_url\" in [brand]: did you mean \"base-url\"?",
        ]
    );
    assert_eq!(problems("zzzzzzzzz = 1\n", read), ["a.toml:1:1: unknown key \"zzzzzzzzz\": known are brand, tagline"]);
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let read = |t: &mut Table<'_>| {
        let _: Option<String> = t.required("a");
        let _: Option<u8> = t.number("b");
        t.flag("c");
        let _: Vec<crate::ByteSize> = t.list("d");
        t.tables("e", |t| t.text("f"));
        Some(())
    };
    assert_eq!(
        problems("b = 256\nc = \"yes\"\nd = [\"1MiB\", 7, \"x\"]\n[[e]]\nf = \" \"\n[[e]]\n", read),
        [
            "a.toml:1:1: \"a\" is missing",
            "a.toml:1:5: b must be a whole number from 0 to 255, and is another number",
            "a.toml:2:5: c must be true or false, and is a text",
            "a.toml:3:14: d must be a text in quotes, and is another number",
            "a.toml:3:17: d: \"x\" is no size: write a whole number and one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, \
             such as \"64MiB\"",
            "a.toml:5:5: e.f must not be empty",
            "a.toml:6:1: \"e.f\" is missing",
        ]
    );
}

#[test]
fn mistakes_of_syntax_are_all_told_too() {
    let list = problems("a = \nb = 1\nb = 2\n[x\n", any);
    assert!(list.len() >= 3, "{list:#?}");
    assert!(list[0].starts_with("a.toml:1:"), "{list:#?}");
    assert!(list.iter().any(|p| p.starts_with("a.toml:3:1: duplicate key")), "{list:#?}");
    assert!(list.iter().any(|p| p.starts_with("a.toml:4:")), "{list:#?}");
}

#[test]
fn columns_count_letters() {
    assert_eq!(problems("x.\"é\" = 1e999\n", any), ["a.toml:1:9: only finite numbers can be passed on"]);
}

#[test]
fn refuses_a_file_that_is_too_long_or_too_deep() {
    let long = format!("#{}", "x".repeat(MAX_FILE_BYTES));
    assert_eq!(problems(&long, any), ["a.toml:1:1: the file has 65537 bytes, and at most 65536 are read"]);
    assert_eq!(problems(&long[1..], |_| Some(())).len(), 1, "that long it may be, but it is no TOML");
    assert!(problems(&format!("#{}", "x".repeat(MAX_FILE_BYTES - 1)), any).is_empty());
    let tables = |n: usize| format!("{} = 1\n", vec!["x"; n].join("."));
    assert!(problems(&tables(MAX_DEPTH), any).is_empty());
    assert!(problems(&tables(MAX_DEPTH + 1), any)[0].contains("deeper than 8"));
    let lists = |n: usize| format!("x.x = {}{}\n", "[".repeat(n), "]".repeat(n));
    assert!(problems(&lists(6), any).is_empty());
    assert!(problems(&lists(7), any)[0].contains("deeper than 8"));
    assert!(!problems(&lists(60_000 / 2), any).is_empty());
}

#[test]
fn a_flood_of_mistakes_is_cut_short() {
    let text = (0..500).map(|i| format!("k{i} = 1")).collect::<Vec<_>>().join("\n");
    let list = problems(&text, any);
    assert_eq!(list.len(), MAX_PROBLEMS + 1);
    assert!(list[MAX_PROBLEMS].ends_with("and 400 more mistakes"));
}

#[test]
fn numbers_of_any_radix_pass_on_as_json() {
    let text = "x = { a = 0x10, b = [1.5, \"t\", true], c = 2030-01-31, d = -1 }\n";
    let json = read("a.toml", text, |t| Some(t.free("x"))).unwrap();
    assert_eq!(serde_json::to_string(&json).unwrap(), r#"{"a":16,"b":[1.5,"t",true],"c":"2030-01-31","d":-1}"#);
    assert!(problems("x.a = 9223372036854775808\n", any)[0].contains("out of range"));
}

#[test]
fn the_distance_counts_edits() {
    for (a, b, d) in [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "abd", 1), ("name", "nmae", 1)] {
        assert_eq!((distance(a, b), distance(b, a)), (d, d), "{a} {b}");
    }
}
