//! The language of the pages that are made here, and not by a storefront.

use http::{HeaderMap, header};

/// What they speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    French,
}

impl Language {
    /// The one that a browser would rather have (RFC 9110, 12.5.4); English where it names neither.
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
        let wanted = lines.flat_map(|line| line.split(',')).filter_map(|one| {
            let (range, weight) = one.split_once(';').unwrap_or((one, "q=1"));
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            let language = match range.trim().split('-').next()?.to_ascii_lowercase().as_str() {
                "en" => Self::English,
                "fr" => Self::French,
                _ => return None,
            };
            (weight > 0.0).then_some((language, weight))
        });
        // Of those that are wanted alike, the first.
        let best = wanted.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.map_or(Self::English, |(language, _)| language)
    }

    /// As `lang` has it (BCP 47).
    pub fn tag(self) -> &'static str {
        self.pick("en", "fr")
    }

    /// The one of two texts that is in this language.
    pub fn pick<T>(self, english: T, french: T) -> T {
        match self {
            Self::English => english,
            Self::French => french,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_language_that_it_would_rather_have() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT_LANGUAGE, http::HeaderValue::from_static(line));
            }
            Language::of(&headers)
        };
        for french in
            ["fr", "FR-ca, en", "de, fr;q=0.8, en;q=0.7", "en;q=0.5,fr", "en;q=0, fr;q=0.1", "fr;q=0.8,en;q=0.8"]
        {
            assert_eq!(of(&[french]), Language::French, "{french}");
        }
        for english in ["", "de", "*", "en, fr", "fr;q=0, de", "fr;q=x", "fry", "fr;q=0.3, en-GB;q=0.4"] {
            assert_eq!(of(&[english]), Language::English, "{english}");
        }
        assert_eq!(of(&["de", "fr;q=0.2"]), Language::French);
        assert_eq!(of(&[]), Language::English);
    }
}
