//! The parts of a work that are searched, and how much each weighs.

use fondaco_sdk::{Result, WorkKind, settings};
use serde::Deserialize;

/// How many there are.
pub const FIELDS: usize = 6;

/// A part of a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its title.
    Title,
    /// Who made it.
    Creators,
    /// Its tags.
    Tags,
    /// What it is: the kind's name, in English and French.
    Kind,
    /// Its description.
    Description,
    /// Who did what.
    Credits,
}

impl Field {
    /// All of them, in the order in which they are stored.
    pub const ALL: [Self; FIELDS] =
        [Self::Title, Self::Creators, Self::Tags, Self::Kind, Self::Description, Self::Credits];

    /// Its name in highlights and reasons.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Creators => "creators",
            Self::Tags => "tags",
            Self::Kind => "kind",
            Self::Description => "description",
            Self::Credits => "credits",
        }
    }
    /// How many words of it are searched; the rest is left out. Together with the cut of long words it keeps a work's list
    /// of words under 64 KiB.
    pub const fn max_words(self) -> usize {
        match self {
            Self::Title => 64,
            Self::Creators | Self::Tags => 128,
            Self::Kind => 8,
            Self::Description => 1024,
            Self::Credits => 256,
        }
    }
}

/// A kind's name in facets.
pub const fn kind_name(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Album => "album",
        WorkKind::Track => "track",
        WorkKind::Video => "video",
        WorkKind::Game => "game",
        WorkKind::Book => "book",
        WorkKind::NewspaperIssue => "newspaper-issue",
        WorkKind::PodcastEpisode => "podcast-episode",
        WorkKind::Software => "software",
        WorkKind::Other => "other",
    }
}

/// The words by which people look for a kind.
pub const fn kind_words(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Album => "album",
        WorkKind::Track => "track song morceau chanson",
        WorkKind::Video => "video film movie",
        WorkKind::Game => "game jeu",
        WorkKind::Book => "book livre",
        WorkKind::NewspaperIssue => "newspaper issue journal numéro",
        WorkKind::PodcastEpisode => "podcast episode balado",
        WorkKind::Software => "software program logiciel",
        WorkKind::Other => "",
    }
}

/// Every kind, by the number under which it is stored.
pub const KINDS: [WorkKind; 9] = [
    WorkKind::Album,
    WorkKind::Track,
    WorkKind::Video,
    WorkKind::Game,
    WorkKind::Book,
    WorkKind::NewspaperIssue,
    WorkKind::PodcastEpisode,
    WorkKind::Software,
    WorkKind::Other,
];

/// What each field weighs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    title: f32,
    creators: f32,
    tags: f32,
    kind: f32,
    description: f32,
    credits: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { title: 4.0, creators: 3.0, tags: 2.0, kind: 1.0, description: 1.0, credits: 1.0 }
    }
}

impl Weights {
    /// In the order of [`Field::ALL`]. What is no sensible weight counts as 0 or 100.
    pub fn all(&self) -> [f64; FIELDS] {
        [self.title, self.creators, self.tags, self.kind, self.description, self.credits]
            .map(|w| if w.is_finite() { f64::from(w.clamp(0.0, 100.0)) } else { 0.0 })
    }
}

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What each field weighs.
    pub weights: Weights,
    /// Does a misspelt word find what it resembles?
    pub typos: bool,
    /// Does the beginning of the last word suffice?
    pub prefixes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { weights: Weights::default(), typos: true, prefixes: true }
    }
}

impl Settings {
    /// As the operator set them.
    pub fn load() -> Result<Self> {
        settings::get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_stored_under_its_own_number() {
        for (number, kind) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, number);
        }
    }

    #[test]
    fn reads_settings_and_tames_weights() {
        let set: Settings = serde_json::from_str(r#"{"weights":{"title":1000,"tags":-1},"typos":false}"#).unwrap();
        assert_eq!(set.weights.all().map(|w| w.to_string()), ["100", "3", "0", "1", "1", "1"]);
        assert!(!set.typos && set.prefixes);
        assert!(serde_json::from_str::<Settings>(r#"{"weight":{}}"#).is_err());
    }
}
