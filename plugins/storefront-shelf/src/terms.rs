//! Terms of an offer in plain words, shown before anybody pays.

use fondaco_sdk::Terms;
use maud::{Markup, html};

use crate::format;
use crate::text::{Texts, fill};

/// Code, English and French name of every country of ISO 3166-1; the names are those of the Unicode CLDR.
const COUNTRIES: &str = include_str!("countries.tsv");
/// What somebody chooses who is nowhere where it is sold. ISO 3166-1 leaves this code to users.
const ELSEWHERE: &str = "ZZ";

/// The scheme that this shop has its own words for.
const SEALED: &str = "org.fondaco.drm-sealed";

/// What a buyer may do, one sentence each: the protection first.
pub fn sentences(t: &Texts, terms: &Terms) -> Vec<String> {
    let mut out = vec![match terms.scheme.as_deref() {
        None => t.terms_clear.to_owned(),
        Some(SEALED) => t.terms_sealed.to_owned(),
        Some(other) => fill(t.terms_other_scheme, &[other]),
    }];
    out.push(match terms.lasts {
        None => t.terms_for_good.to_owned(),
        // Two days and more are told in days; never more than there are.
        Some(seconds) if seconds >= 48 * 3600 => t.plural(seconds / 86_400, t.terms_days_one, t.terms_days_many),
        Some(seconds) => t.plural(seconds / 3600, t.terms_hours_one, t.terms_hours_many),
    });
    out.push(match terms.devices {
        None => t.terms_any_device.to_owned(),
        Some(n) => t.plural(n.into(), t.terms_devices_one, t.terms_devices_many),
    });
    if !terms.territories.is_empty() {
        let names: Vec<&str> = terms.territories.iter().map(|code| country(t, code)).collect();
        out.push(fill(t.terms_territories, &[&names.join(", ")]));
    }
    if let Some(from) = &terms.available_from {
        out.push(fill(t.terms_from, &[&format::date(t, from)]));
    }
    if let Some(until) = &terms.available_until {
        out.push(fill(t.terms_until, &[&format::date(t, until)]));
    }
    out
}

/// A country's name; a code that is none stands for itself.
fn country<'a>(t: &Texts, code: &'a str) -> &'a str {
    let names = COUNTRIES.lines().find_map(|line| line.strip_prefix(code)?.strip_prefix('\t')?.split_once('\t'));
    names.map_or(code, |(english, french)| if t.lang == "fr" { french } else { english })
}

/// Where the buyer says in which country they are: an offer with territories is sold to nobody who does not.
pub fn country_field(t: &Texts, id: &str, terms: &Terms) -> Markup {
    let mut sold_in: Vec<(&str, &str)> = terms.territories.iter().map(|c| (country(t, c), c.as_str())).collect();
    sold_in.sort_unstable();
    html! {
        div.field {
            label for=(id) { (t.your_country) }
            select id=(id) name="country" required autocomplete="country" {
                option value="" { (t.choose) }
                @for (name, code) in &sold_in { option value=(code) { (name) } }
                option value=(ELSEWHERE) { (t.another_country) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{ENGLISH, FRENCH};

    fn open() -> Terms {
        Terms {
            scheme: None,
            lasts: None,
            devices: None,
            territories: Vec::new(),
            available_from: None,
            available_until: None,
        }
    }

    #[test]
    fn tells_the_protection_before_everything_else() {
        assert_eq!(sentences(&ENGLISH, &open()).first().map(String::as_str), Some(ENGLISH.terms_clear));
        let sealed = Terms { scheme: Some(SEALED.into()), ..open() };
        assert!(sentences(&FRENCH, &sealed)[0].starts_with("Scellé"));
        let other = Terms { scheme: Some("org.else".into()), ..open() };
        assert_eq!(sentences(&ENGLISH, &other)[0], "Protected by org.else: opens with your licence");
    }

    #[test]
    fn tells_where_it_is_sold_and_asks_the_buyer() {
        let sold = Terms { territories: vec!["FR".into(), "DE".into(), "X<".into()], ..open() };
        assert_eq!(sentences(&ENGLISH, &sold)[3], "Sold in: France, Germany, X<");
        assert_eq!(sentences(&FRENCH, &sold)[3], "Vendu dans : France, Allemagne, X<");
        let field = country_field(&FRENCH, "country-0", &sold).into_string();
        assert!(field.contains(r#"<option value="DE">Allemagne</option>"#) && field.contains("X&lt;"), "{field}");
        assert_eq!(COUNTRIES.lines().filter(|line| line.split('\t').count() == 3).count(), 249);
    }

    #[test]
    fn tells_a_rental_in_hours_and_days() {
        let lasting = |s| sentences(&ENGLISH, &Terms { lasts: Some(s), ..open() })[1].clone();
        assert_eq!(lasting(3600), "For 1 hour from purchase");
        assert_eq!(lasting(47 * 3600), "For 47 hours from purchase");
        assert_eq!(lasting(30 * 86_400 + 5), "For 30 days from purchase");
    }
}
