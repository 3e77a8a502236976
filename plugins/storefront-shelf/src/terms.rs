//! Terms of an offer in plain words, shown before anybody pays.

use fondaco_sdk::Terms;

use crate::format;
use crate::text::{Texts, fill};

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
        out.push(fill(t.terms_territories, &[&terms.territories.join(", ")]));
    }
    if let Some(from) = &terms.available_from {
        out.push(fill(t.terms_from, &[&format::date(t, from)]));
    }
    if let Some(until) = &terms.available_until {
        out.push(fill(t.terms_until, &[&format::date(t, until)]));
    }
    out
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
    fn tells_a_rental_in_hours_and_days() {
        let lasting = |s| sentences(&ENGLISH, &Terms { lasts: Some(s), ..open() })[1].clone();
        assert_eq!(lasting(3600), "For 1 hour from purchase");
        assert_eq!(lasting(47 * 3600), "For 47 hours from purchase");
        assert_eq!(lasting(30 * 86_400 + 5), "For 30 days from purchase");
    }
}
