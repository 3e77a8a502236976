//! Names and codes from outside, checked once. Whoever holds one of these types holds text that is safe in a storage key,
//! a file name, a URL and a mail header.

use std::fmt;
use std::str::FromStr;

macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $why:literal, |$text:ident| $value:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = &'static str;
            fn from_str($text: &str) -> Result<Self, Self::Err> {
                let value: Option<String> = $value;
                value.map(Self).ok_or($why)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_code(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

checked! {
    /// The id of a campaign, action, audience, pack, target or consent.
    Id, "write 1 to 64 of a-z, 0-9 and '-', beginning with a letter or a digit",
    |text| (is_code(text, 64) && !text.starts_with('-')).then(|| text.to_owned())
}

checked! {
    /// Where a printed piece hangs or runs, so that its readers can be counted: a paper and its date, a shop window.
    Placement, "write 1 to 32 of a-z, 0-9 and '-'",
    |text| is_code(text, 32).then(|| text.to_owned())
}

checked! {
    /// A BCP 47 language tag: a language and perhaps subtags.
    Locale, "write a language tag such as \"en\" or \"fr-CA\"",
    |text| {
        let mut parts = text.split('-');
        let language = parts.next().is_some_and(|l| (2..=3).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_lowercase()));
        let subtags = parts.all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()));
        (language && subtags && text.len() <= 35).then(|| text.to_owned())
    }
}

checked! {
    /// A country: ISO 3166-1 alpha-2, or one of its user-assigned codes. Kept in upper case.
    Country, "write the two letters of a country such as \"FR\"",
    |text| {
        let text = text.trim();
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic())).then(|| text.to_ascii_uppercase())
    }
}

checked! {
    /// A postcode without its spaces and dashes, in upper case, so that `sw1a 1aa` and `SW1A-1AA` are one.
    Postcode, "write 1 to 12 letters and digits",
    |text| {
        let plain: String = text.chars().filter(|c| *c != ' ' && *c != '-').take(13).collect();
        let good = (1..=12).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_alphanumeric());
        good.then(|| plain.to_ascii_uppercase())
    }
}

checked! {
    /// An OCD division id: `ocd-division/country:us/state:ca/cd:12`.
    Division, "write an OCD division id such as \"ocd-division/country:us/state:ca/cd:12\"",
    |text| {
        let mut parts = text.split('/');
        let root = parts.next() == Some("ocd-division");
        let country = parts.next().and_then(|p| p.strip_prefix("country:"));
        let country = country.is_some_and(|c| c.len() == 2 && c.bytes().all(|b| b.is_ascii_lowercase()));
        let word = |w: &str| {
            !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_~.".contains(&b))
        };
        let rest = parts.all(|p| p.split_once(':').is_some_and(|(kind, id)| word(kind) && word(id)));
        (root && country && rest && text.len() <= 200).then(|| text.to_owned())
    }
}

impl Division {
    /// The division of a whole country.
    pub fn country(country: &Country) -> Self {
        Self(format!("ocd-division/country:{}", country.as_str().to_ascii_lowercase()))
    }
    /// Is it `other`, or does it hold `other`?
    pub fn holds(&self, other: &Self) -> bool {
        other.as_str().strip_prefix(self.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

checked! {
    /// A mail address (RFC 5321 §4.1.2 without quoted local parts and address literals), ASCII, in lower case.
    Mail, "write a mail address such as \"name@shop.example\"",
    |text| {
        let text = text.trim();
        // RFC 5322 §3.2.3, atext.
        let atom = |a: &str| {
            !a.is_empty() && a.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
        };
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        let good = text.len() <= 254
            && text.split_once('@').is_some_and(|(local, domain)| {
                local.len() <= 64 && local.split('.').all(atom) && domain.contains('.') && domain.split('.').all(label)
            });
        good.then(|| text.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text:?} is good");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} is bad");
        }
    }

    #[test]
    fn refuses_names_that_could_break_out_of_a_key_a_url_or_a_header() {
        let long = "x".repeat(65);
        check::<Id>(&["your-customers", "7"], &["", "-x", "A", "a/b", "a b", "a\n", "../x", "é", &long]);
        check::<Placement>(&["tribune-2003-11-12", "-"], &["", "A", "a_b", "a/b", "a\r\n", &long]);
        check::<Locale>(&["en", "fr-CA", "zh-Hant-TW"], &["", "e", "EN", "en_US", "en-", "en/fr"]);
        check::<Country>(&["FR", "xa"], &["", "F", "FRA", "F1", "é"]);
        check::<Postcode>(&["75011", "SW1A 1AA", "sw1a-1aa"], &["", "-", "1/2", "1234567890123", "é"]);
        check::<Division>(
            &["ocd-division/country:us", "ocd-division/country:us/state:ca/cd:12"],
            &[
                "",
                "country:us",
                "ocd-division",
                "ocd-division/country:USA",
                "ocd-division/country:us/",
                "ocd-division/country:us/x",
            ],
        );
        let local = format!("{}@a.example", "x".repeat(65));
        check::<Mail>(
            &["a@b.example", "First.Last+x@sub.shop.example"],
            &[
                "",
                "a",
                "a@b",
                "a@@b.example",
                "a b@c.example",
                "a@b.example\r\nBcc: x@y.example",
                "a@b.example,c@d.example",
                ".a@b.example",
                "a@-b.example",
                "é@b.example",
                "a?subject=x@b.example,",
                &local,
            ],
        );
    }

    #[test]
    fn writes_the_same_thing_the_same_way() {
        let same = |a: &str, b: &str| assert_eq!(a.parse::<Postcode>(), b.parse());
        same("sw1a 1aa", "SW1A-1AA");
        assert_eq!("Ann@Shop.Example".parse::<Mail>(), "ann@shop.example".parse());
        assert_eq!("fr".parse::<Country>().map(|c| c.to_string()).as_deref(), Ok("FR"));
    }

    #[test]
    fn a_division_holds_itself_and_what_lies_in_it() {
        let d = |text: &str| text.parse::<Division>().unwrap();
        let state = d("ocd-division/country:us/state:ca");
        assert!(state.holds(&state));
        assert!(state.holds(&d("ocd-division/country:us/state:ca/cd:12")));
        assert!(!state.holds(&d("ocd-division/country:us/state:cal")));
        assert!(!state.holds(&d("ocd-division/country:us")));
        assert!(Division::country(&"us".parse().unwrap()).holds(&state));
    }
}
