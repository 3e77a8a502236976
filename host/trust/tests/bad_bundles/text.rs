//! Manifests and envelopes that two readers might read differently. The manifests are properly signed: a trusted key's
//! owner, or its thief, is who sends them.

use crate::Tally;
use crate::scene::{REQUEST, Scene, bundle, envelope, manifest, with_envelope, with_manifest};

fn good() -> String {
    manifest(&bundle(REQUEST, &[1]))
}

/// The text with one more line before each of its lines, or behind the last.
fn with_line_at_each(text: &str, line: impl Fn(usize, &str) -> Option<String>) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let one = |at: usize| {
        let new = line(at, lines.get(at).copied().unwrap_or_default())?;
        let mut all: Vec<&str> = lines.clone();
        all.insert(at, &new);
        Some(all.join("\n") + "\n")
    };
    (0..=lines.len()).filter_map(one).collect()
}

fn is_key(line: &str) -> bool {
    line.contains(" = ")
}

pub fn manifest_keys_twice(scene: &Scene, tally: &mut Tally) {
    let text = good();
    let mut all = with_line_at_each(&text, |_, line| is_key(line).then(|| line.to_owned()));
    // The same key with another value, and spelled in another way.
    let quoted = |line: &str| line.split_once(" = ").map(|(key, value)| format!("\"{key}\" = {value}"));
    all.extend(with_line_at_each(&text, |_, line| quoted(line)));
    let escaped = |line: &str| {
        let (key, value) = line.split_once(" = ")?;
        let first = key.chars().next()?;
        Some(format!("\"\\u{:04x}{}\" = {value}", u32::from(first), &key[1..]))
    };
    all.extend(with_line_at_each(&text, |_, line| escaped(line)));
    let literal = |line: &str| line.split_once(" = ").map(|(key, _)| format!("'{key}' = \"evil\""));
    all.extend(with_line_at_each(&text, |_, line| literal(line)));
    // Whole tables twice.
    let tables: Vec<&str> = text.lines().filter(|l| l.starts_with('[') && !l.starts_with("[[")).collect();
    all.extend(tables.iter().map(|table| format!("{text}\n{table}\n")));
    all.extend(tables.iter().map(|table| format!("{text}\n{}\nx = 1\n", table.replace('[', "[ ").replace(']', " ]"))));
    for bad in all {
        tally.count(scene.judge(with_manifest(bad.clone().into_bytes())), || bad);
    }
}

pub fn manifest_unknown_keys(scene: &Scene, tally: &mut Tally) {
    let text = good();
    for line in ["extra = 1", "Id = \"org.nightowl.other\"", "grant = true", "\"\" = 1", "a.b.c = 1"] {
        for bad in with_line_at_each(&text, |_, _| Some(line.to_owned())) {
            tally.count(scene.judge(with_manifest(bad.clone().into_bytes())), || bad);
        }
    }
}

pub fn manifest_not_toml(scene: &Scene, tally: &mut Tally) {
    let text = good();
    let mut all: Vec<Vec<u8>> = Vec::new();
    // Not text: a byte that no UTF-8 has, at a beginning of each line.
    let starts = text.match_indices('\n').map(|(at, _)| at + 1);
    for (n, at) in starts.clone().enumerate() {
        let bad: &[u8] = [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\x80"][n % 4];
        all.push([&text.as_bytes()[..at], bad, &text.as_bytes()[at..]].concat());
    }
    // Text, and no TOML: control characters, and values that no number has.
    for (n, at) in starts.enumerate() {
        let bad = ["\0", "\u{1}", "\u{7f}", "\u{b}", "]", "= 1\n", "x =\n", "[[[\n", "x = 1 y = 2\n"][n % 9];
        all.push([&text[..at], bad, &text[at..]].concat().into_bytes());
    }
    for (from, to) in [
        ("schema = 1", "schema = 99999999999999999999999999"),
        ("schema = 1", "schema = -1"),
        ("schema = 1", "schema = 1.0"),
        ("schema = 1", "schema = 2"),
        ("schema = 1", "schema = nan"),
        ("schema = 1", "schema = \"1\""),
        ("schema = 1", "schema = [1]"),
        ("schema = 1", "schema = 0x1_"),
    ] {
        assert!(text.contains(from));
        all.push(text.replace(from, to).into_bytes());
    }
    for size in ["-1", "18446744073709551616", "1e3", "inf", "\"5\"", "9223372036854775808"] {
        let changed: String = text
            .lines()
            .map(|line| if line.starts_with("size = ") { format!("size = {size}\n") } else { format!("{line}\n") })
            .collect();
        all.push(changed.into_bytes());
    }
    // Deeper than anybody needs: a parser that recurses must not run out of stack.
    for depth in [9, 100, 1_000, 30_000] {
        all.push(format!("x = {}{}\n{text}", "[".repeat(depth), "]".repeat(depth)).into_bytes());
        all.push(format!("x = {}{}\n{text}", "{a=".repeat(depth / 2), "}".repeat(depth / 2)).into_bytes());
        all.push(format!("{} = 1\n{text}", vec!["a"; depth].join(".")).into_bytes());
        all.push(format!("{text}\n[{}]\n", vec!["a"; depth].join(".")).into_bytes());
    }
    // Cut at every second byte: something is always missing, or unfinished.
    all.extend((0..text.len() - 1).step_by(2).map(|at| text.as_bytes()[..at].to_vec()));
    for bad in all {
        let shown = String::from_utf8_lossy(&bad[..bad.len().min(400)]).into_owned();
        tally.count(scene.judge(with_manifest(bad)), || shown);
    }
}

pub fn look_alikes(scene: &Scene, tally: &mut Tally) {
    let (text, id) = (good(), "org.nightowl.shelf");
    // Every thirteenth character of the basic plane, some beyond it, and all of ASCII that an id does not have.
    let beyond = (0x80..0x1_0000).step_by(13).chain(0x1_d400..0x1_d480).filter_map(char::from_u32);
    let ascii =
        (0_u8..0x7f).map(char::from).filter(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && !".-".contains(*c));
    for (n, c) in beyond.chain(ascii).enumerate() {
        // In place of one of its characters, each in turn.
        let at = n % id.len();
        let other: String = id.chars().enumerate().map(|(i, own)| if i == at { c } else { own }).collect();
        let written = if c.is_control() || c == '"' || c == '\\' {
            other.replace(c, &format!("\\u{:04x}", u32::from(c)))
        } else {
            other
        };
        let bad = text.replacen(id, &written, 1);
        tally.count(scene.judge(with_manifest(bad.into_bytes())), || format!("{c:?} at {at}"));
    }
}

pub fn envelope_not_json(scene: &Scene, tally: &mut Tally) {
    let good = &scene.bundles[0];
    let json = envelope(good);
    let mut all: Vec<String> = Vec::new();
    for key in ["payload", "payloadType", "signatures", "keyid", "sig"] {
        let named = format!("\"{key}\":");
        assert!(json.contains(&named));
        for value in ["\"\"", "null", "[]", "{}", "0", "\"application/vnd.fondaco.manifest.v1+toml\""] {
            // Before its own, behind it, and in its place.
            all.push(json.replacen(&named, &format!("{named} {value}, {named}"), 1));
            all.push(json.replacen(
                &named,
                &format!("\"\\u{:04x}{}\": {value}, {named}", u32::from(key.as_bytes()[0]), &key[1..]),
                1,
            ));
            if value != "null" || key != "keyid" {
                let rest = json.split_once(&named).unwrap().1;
                let end = rest.find(['\n', ',']).unwrap();
                let own = &rest[..end];
                all.push(json.replacen(&format!("{named}{own}"), &format!("{named} {value}"), 1));
            }
        }
        all.push(json.replacen(&named, "\"x\": 1, \"y\":", 1));
        all.push(json.replacen(key, &key.to_uppercase(), 1));
    }
    for (from, to) in
        [("=\"", "\""), ("=\"", "==\""), ("\"sig\": \"", "\"sig\": \" "), ("\"sig\": \"", "\"sig\": \"\\n")]
    {
        all.push(json.replace(from, to));
    }
    for tail in ["x", "{}", "\0", ",", &json] {
        all.push(format!("{json}{tail}"));
    }
    for head in ["\u{feff}", "//\n", "[", "null", ")]}'\n"] {
        all.push(format!("{head}{json}"));
    }
    for depth in [200, 10_000, 60_000] {
        all.push(format!("{{\"payload\": {}{}}}", "[".repeat(depth), "]".repeat(depth)));
        all.push("[".repeat(depth));
        all.push("{\"a\":".repeat(depth));
    }
    all.push(format!("{json}{}", " ".repeat(128 << 10)));
    let many = vec!["{\"sig\": \"AAAA\"}"; 1_000].join(",");
    all.push(json.replacen("\"signatures\": [", &format!("\"signatures\": [{many},"), 1));
    // One of the values is what stood there before.
    for bad in all.into_iter().filter(|bad| *bad != json) {
        let shown: String = bad.chars().take(300).collect();
        tally.count(scene.judge(with_envelope(good, bad)), || shown);
    }
}
