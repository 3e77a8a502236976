//! Why a code is not taken, in the words for the person who typed it.

use fondaco_schemas::Asset;
use fondaco_sdk::Error;

use crate::clock::Day;

/// Why a code is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not begin as codes do.
    NoCode,
    /// It holds a character that no code has.
    Character(char),
    /// Its checksum or its length is wrong.
    Mistyped,
    /// It is in order but for the signature, which is not this shop's.
    NotOurs,
    /// It is ours, and of a format that this version does not read.
    Format,
    /// It paid for something already.
    Used,
    /// It was good until this day.
    Expired(Day),
    /// It is worth something else than what the order is reckoned in.
    Unit {
        /// What the code is worth something in.
        code: Asset,
        /// What the order is reckoned in.
        order: Asset,
    },
    /// The payment was cancelled or paid back.
    Closed,
    /// The payment was made up of as many codes as one may be.
    TooMany,
}

impl Refusal {
    /// In the language of a locale: French, or else English.
    pub fn text(&self, locale: &str) -> String {
        if is_french(locale) { self.french() } else { self.english() }
    }

    fn english(&self) -> String {
        match self {
            Self::NoCode => "this is no voucher code: a code begins with FDV1".into(),
            Self::Character(c) => format!("a voucher code never holds the character {c:?}: look at it again"),
            Self::Mistyped => {
                "this code is mistyped or not complete: compare it with the voucher, group by group".into()
            }
            Self::NotOurs => "this code was not issued by this shop".into(),
            Self::Format => "this code is of a newer kind, which this shop cannot read yet: ask the shop".into(),
            Self::Used => "this code has been used already".into(),
            Self::Expired(day) => format!("this code has expired: it was good until {day}"),
            Self::Unit { code, order } if code == order => {
                format!("this code counts {code} in another unit than this order: ask the shop")
            }
            Self::Unit { code, order } => format!("this code is worth {code}, and this order is in {order}"),
            Self::Closed => {
                "this payment was cancelled or paid back and takes no further code: begin a new order".into()
            }
            Self::TooMany => "this payment takes no further code: it has as many as one payment may have".into(),
        }
    }

    fn french(&self) -> String {
        match self {
            Self::NoCode => "ceci n'est pas un code de bon : un code commence par FDV1".into(),
            Self::Character(c) => format!("un code ne contient jamais le caractère {c:?} : vérifiez-le"),
            Self::Mistyped => "ce code est mal saisi ou incomplet : comparez-le au bon, groupe par groupe".into(),
            Self::NotOurs => "ce code n'a pas été émis par cette boutique".into(),
            Self::Format => {
                "ce code est d'un type plus récent que cette boutique ne lit pas encore : adressez-vous à elle".into()
            }
            Self::Used => "ce code a déjà été utilisé".into(),
            Self::Expired(day) => format!("ce code a expiré : il était valable jusqu'au {day}"),
            Self::Unit { code, order } if code == order => {
                format!("ce code compte {code} dans une autre unité que cette commande : adressez-vous à la boutique")
            }
            Self::Unit { code, order } => format!("ce code vaut des {code}, et cette commande est en {order}"),
            Self::Closed => {
                "ce paiement a été annulé ou remboursé et n'accepte plus de code : recommencez une commande".into()
            }
            Self::TooMany => "ce paiement n'accepte plus de code : il en compte déjà autant que possible".into(),
        }
    }

    /// As the node takes it.
    pub fn error(&self, locale: &str) -> Error {
        Error::Invalid(self.text(locale))
    }
}

/// Is this a French locale (BCP 47)?
pub fn is_french(locale: &str) -> bool {
    locale.split(['-', '_']).next().is_some_and(|language| language.eq_ignore_ascii_case("fr"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_words_of_its_own_in_both_languages() {
        let (eur, usd): (Asset, Asset) = ("EUR".parse().unwrap(), "USD".parse().unwrap());
        let all = [
            Refusal::NoCode,
            Refusal::Character('U'),
            Refusal::Mistyped,
            Refusal::NotOurs,
            Refusal::Format,
            Refusal::Used,
            Refusal::Expired(Day(22_000)),
            Refusal::Unit { code: usd, order: eur.clone() },
            Refusal::Unit { code: eur.clone(), order: eur },
            Refusal::Closed,
            Refusal::TooMany,
        ];
        for locale in ["en", "fr-CA"] {
            let texts: std::collections::BTreeSet<_> = all.iter().map(|r| r.text(locale)).collect();
            assert_eq!(texts.len(), all.len());
            assert!(texts.iter().all(|t| !t.ends_with('.') && t.starts_with(char::is_lowercase)), "{texts:#?}");
        }
        assert_ne!(all[0].text("fr"), all[0].text("en"));
        assert_eq!(all[0].text("de"), all[0].text("en"));
    }
}
