//! Which targets a delegation covers.

/// Does a path match a pattern (`PATHPATTERN`, section 4.5)? `*` stands for any characters, `?` for one, `[abc]`,
/// `[a-c]` and `[!abc]` for one of a set, as in Python's fnmatch; none of them for a slash.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) => {
                let (pattern, part): (Vec<char>, Vec<char>) = (pattern.chars().collect(), part.chars().collect());
                if !part_matches(&pattern, &part) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// One part of a path. Goes back to the last star only, so it ends after at most pattern × part steps.
fn part_matches(pattern: &[char], part: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            None if t == part.len() => return true,
            None => None,
            Some(_) => part.get(t).and_then(|c| one(pattern.get(p..).unwrap_or_default(), *c)),
        };
        if let Some(length) = step {
            p += length;
            t += 1;
        } else {
            // Let the last star take one more.
            let Some((after, from)) = star.filter(|(_, from)| *from < part.len()) else { return false };
            star = Some((after, from + 1));
            (p, t) = (after, from + 1);
        }
    }
}

/// How many characters of the pattern stand for `c`, if they do.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let Some(set) = Set::read(pattern) else { return (c == '[').then_some(1) };
            (set.holds(c) != set.negated).then_some(set.length)
        }
        literal => (*literal == c).then_some(1),
    }
}

/// `[…]`
struct Set<'a> {
    negated: bool,
    members: &'a [char],
    /// In the pattern, with the brackets.
    length: usize,
}

impl<'a> Set<'a> {
    fn read(pattern: &'a [char]) -> Option<Self> {
        let negated = pattern.get(1) == Some(&'!');
        let start = if negated { 2 } else { 1 };
        // A bracket that comes first is a member.
        let end = pattern.iter().skip(start + 1).position(|c| *c == ']')? + start + 1;
        Some(Self { negated, members: pattern.get(start..end)?, length: end + 1 })
    }

    fn holds(&self, c: char) -> bool {
        let mut rest = self.members;
        while let Some((first, tail)) = rest.split_first() {
            rest = if let ['-', last, after @ ..] = tail {
                if (*first..=*last).contains(&c) {
                    return true;
                }
                after
            } else {
                if *first == c {
                    return true;
                }
                tail
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_fnmatch_does_within_one_part() {
        let check = |pattern: &str, path: &str, expect: bool| {
            assert_eq!(matches(pattern, path), expect, "{pattern} {path}");
        };
        for (pattern, path) in [
            ("*", "a"),
            ("*", ""),
            ("a", "a"),
            ("a?c", "abc"),
            ("a*c", "ac"),
            ("a*c", "abbc"),
            ("*a*b*", "xaxbx"),
            ("a*bc", "abcbc"),
            ("org.owl.*/*", "org.owl.shelf/org.owl.shelf-1.0.0.fondaco"),
            ("[ab]x", "bx"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]x", "]x"),
            ("[!]]x", "ax"),
            ("[a-]x", "-x"),
            ("[x", "[x"),
            ("*[0-9]", "v12"),
            ("**", "ab"),
        ] {
            check(pattern, path, true);
        }
        for (pattern, path) in [
            ("*", "a/b"),
            ("a/*", "a"),
            ("?", ""),
            ("?", "/"),
            ("a", "A"),
            ("a", "ab"),
            ("ab", "a"),
            ("a*c", "abcd"),
            ("org.owl/*", "org.owlet/x"),
            ("org.owl.*/*", "org.owl/x"),
            ("[ab]x", "cx"),
            ("[a-c]x", "dx"),
            ("[!a-c]x", "bx"),
            ("[!]]x", "]x"),
            ("[ab]", "ab"),
            ("*[0-9]", "v"),
            ("a/b", "a/b/c"),
        ] {
            check(pattern, path, false);
        }
        // Ends soon, however many stars there are.
        assert!(!matches(&"*a".repeat(40), &"a".repeat(39)));
        assert!(matches(&"*a".repeat(40), &"a".repeat(60)));
    }
}
