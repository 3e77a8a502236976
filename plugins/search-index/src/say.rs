//! What the index says to people, in English and French.

use fondaco_sdk::settings;

use crate::field::Field;
use crate::query::How;

/// A language that it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English, also for all others.
    English,
    /// French.
    French,
}

impl Language {
    /// The deployment's own.
    pub fn of_brand() -> Self {
        let locale = settings::brand().locale.to_ascii_lowercase();
        if locale == "fr" || locale.starts_with("fr-") { Self::French } else { Self::English }
    }

    const fn field(self, field: Field) -> &'static str {
        match (self, field) {
            (Self::English, _) => field.name(),
            (Self::French, Field::Title) => "le titre",
            (Self::French, Field::Creators) => "les auteurs",
            (Self::French, Field::Tags) => "les mots-clés",
            (Self::French, Field::Kind) => "le genre",
            (Self::French, Field::Description) => "la description",
            (Self::French, Field::Credits) => "les crédits",
        }
    }

    /// Why a work was found.
    pub fn reason(self, asked: &str, how: How, word: &str, field: Field) -> String {
        let field = self.field(field);
        match (self, how) {
            (Self::English, How::Exact) => format!("“{word}” in the {field}"),
            (Self::English, How::Begins) => format!("“{word}” in the {field} begins with “{asked}”"),
            (Self::English, How::Resembles) => format!("“{word}” in the {field} resembles “{asked}”"),
            (Self::French, How::Exact) => format!("« {word} » dans {field}"),
            (Self::French, How::Begins) => format!("« {word} » dans {field} commence par « {asked} »"),
            (Self::French, How::Resembles) => format!("« {word} » dans {field} ressemble à « {asked} »"),
        }
    }

    /// What a field weighs, as a ranking parameter.
    pub fn weight(self, field: Field) -> String {
        let field = self.field(field);
        match self {
            Self::English => {
                format!(
                    "Your words in the {field}: more for rare words, for repeated ones, and where that text is short"
                )
            }
            Self::French => {
                format!("Vos mots dans {field} : davantage s'ils sont rares, répétés, ou si ce texte est court")
            }
        }
    }

    /// The other parameters: a word's beginning, one slip, two slips, payment.
    pub const fn factors(self) -> [&'static str; 4] {
        match self {
            Self::English => [
                "Share that counts where only the beginning of your last word matches",
                "Share that counts where a word differs from yours by one letter",
                "Share that counts where a word differs from yours by two letters",
                "Payment: it moves no result",
            ],
            Self::French => [
                "Part qui compte si seul le début de votre dernier mot correspond",
                "Part qui compte si un mot diffère du vôtre d'une lettre",
                "Part qui compte si un mot diffère du vôtre de deux lettres",
                "Paiement : il ne déplace aucun résultat",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_reasons_in_both_languages() {
        let say = |l: Language, how| l.reason("bethoven", how, "beethoven", Field::Creators);
        assert_eq!(say(Language::English, How::Exact), "“beethoven” in the creators");
        assert_eq!(say(Language::English, How::Resembles), "“beethoven” in the creators resembles “bethoven”");
        assert_eq!(say(Language::French, How::Begins), "« beethoven » dans les auteurs commence par « bethoven »");
    }
}
