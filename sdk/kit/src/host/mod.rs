//! A node that is played: works, storage, keys, sales and campaigns in memory, with the rules that a real node keeps. The
//! checks set its mood, to see what a plugin does when the node is full, slow or out of order, and look at what it was
//! asked. It answers the plugin's calls (`lend`), and never fails in a way that a real node does not.

mod keys;
mod lend;
mod trade;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fondaco_runtime::wit::{commerce, types};

pub(crate) use keys::holder;

use crate::{Subject, works};

/// What the storefront knows the kit's visitor by.
pub const SESSION: &str = "kit-session-5f1d";
/// The address of the shop that is played.
pub const BASE_URL: &str = "https://shop.example";

/// How the node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// All is well.
    #[default]
    Well,
    /// Every call answers `unavailable`.
    OutOfOrder,
    /// Every call takes so long.
    Slow(Duration),
}

/// The node.
pub struct Host {
    pub(crate) works: Mutex<Vec<types::Work>>,
    /// The files of the works, by hash.
    pub(crate) blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    storage: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    assets: BTreeMap<String, Vec<u8>>,
    settings: String,
    secrets: BTreeMap<String, String>,
    mood: Mutex<Mood>,
    calls: Mutex<Vec<&'static str>>,
    pub(crate) orders: Mutex<Vec<(String, commerce::Order)>>,
    signed: Mutex<Vec<(String, String)>>,
    mails: Mutex<Vec<String>>,
    acts_for: Mutex<u8>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a check left behind when it ended early is still sound: each lock guards one plain value.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// A node with the kit's works.
    pub(crate) fn new(subject: &Subject) -> Arc<Self> {
        let (works, blobs) = works::catalogue();
        Arc::new(Self {
            works: Mutex::new(works),
            blobs: Mutex::new(blobs),
            storage: Mutex::default(),
            assets: subject.assets.clone(),
            settings: subject.settings.clone(),
            secrets: subject.secrets.clone(),
            mood: Mutex::default(),
            calls: Mutex::default(),
            orders: Mutex::default(),
            signed: Mutex::default(),
            mails: Mutex::default(),
            acts_for: Mutex::new(1),
        })
    }

    /// Changes how it is.
    pub(crate) fn set_mood(&self, mood: Mood) {
        *lock(&self.mood) = mood;
    }
    /// Which functions were called since the last time that this was asked.
    pub(crate) fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut lock(&self.calls))
    }
    /// Mails that were handed over since the last time.
    pub(crate) fn take_mails(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.mails))
    }
    /// Lets the node act for another holder; 0: for none.
    pub(crate) fn act_for(&self, number: u8) {
        *lock(&self.acts_for) = number;
    }
    /// The node's works, as they are.
    pub(crate) fn catalogue(&self) -> Vec<types::Work> {
        lock(&self.works).clone()
    }
    /// Takes every work out.
    pub(crate) fn clear(&self) {
        lock(&self.works).clear();
    }
    /// Puts a file into the store, and says under which hash.
    pub(crate) fn keep(&self, bytes: Vec<u8>) -> String {
        let hash = blake3::hash(&bytes).to_hex().to_string();
        lock(&self.blobs).insert(hash.clone(), bytes);
        hash
    }

    /// Every call comes by here first.
    async fn met(&self, call: &'static str) -> Result<(), types::Error> {
        lock(&self.calls).push(call);
        let mood = *lock(&self.mood);
        match mood {
            Mood::Well => Ok(()),
            Mood::OutOfOrder => Err(types::Error::Unavailable("the kit's node is out of order".into())),
            Mood::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }
}
