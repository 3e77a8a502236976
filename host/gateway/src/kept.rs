//! Pages that say the same to everybody, kept for a moment: what a hundred people ask for in one second is made once.
//! `app` asks here before it calls the storefront, and says here which pages the storefront promised to be shared; what
//! counts as a promise is `shop`'s to say.
//!
//! Invariant: what is kept was made for nobody. The first page with the promise only declares its address; the copy is
//! made afterwards, without a visitor, a token or a browser's name. So a promise that was a mistake shows nobody what
//! is another's.
//!
//! Invariant: nobody gets a page from before a change that was answered before they came. A copy is good while the
//! market's [`State`] is the one in which it was begun, and [`FOR`] at the longest.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fondaco_market::State;
use http::{HeaderMap, HeaderName, Response, Uri, header};

/// How long a copy is good where nothing changes that the market counts: the clock goes on, files are laid over a
/// plugin's, other nodes answer otherwise.
const FOR: Duration = Duration::from_secs(1);
/// Addresses that are known. With [`MOST_PAGE`], 16 MiB of pages at most.
const MOST: usize = 256;
/// The largest page that is kept, in bytes, with its headers.
const MOST_PAGE: usize = 64 << 10;
/// The longest key, in bytes.
const MOST_KEY: usize = 1 << 10;

/// Whoever sends one of these asks for something else than the page as it is.
const ASKS_FOR_MORE: &[HeaderName] = &[header::IF_NONE_MATCH, header::CONTENT_TYPE, header::AUTHORIZATION];

/// A page as browsers may have it.
pub(crate) type Page = Response<Bytes>;

/// Is it small enough to be kept?
pub(crate) fn fits(page: &Page) -> bool {
    let headers: usize = page.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    page.body().len().saturating_add(headers) <= MOST_PAGE
}

/// All that a storefront sees of a request whose answer may be a copy. Cookie and address it never sees; the browser's
/// name it is not told when a copy is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    target: String,
    host: Option<Vec<u8>>,
    language: Option<Vec<u8>>,
    accept: Option<Vec<u8>>,
}

impl Key {
    /// None where the request asks for more than a page, or is longer than links are.
    pub fn of(uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        if ASKS_FOR_MORE.iter().any(|name| headers.contains_key(name)) {
            return None;
        }
        // Copied: a header's own bytes would hold on to all that was read with it.
        let value = |name: HeaderName| headers.get(name).map(|v| v.as_bytes().to_vec());
        let (host, language, accept) = (value(header::HOST), value(header::ACCEPT_LANGUAGE), value(header::ACCEPT));
        let key = Self { target: uri.to_string(), host, language, accept };
        (key.len() <= MOST_KEY).then_some(key)
    }

    fn len(&self) -> usize {
        let headers = [&self.host, &self.language, &self.accept].into_iter().flatten();
        headers.map(Vec::len).sum::<usize>() + self.target.len()
    }
}

/// A copy, and what it was made of.
struct Kept {
    state: State,
    began: Instant,
    page: Arc<Page>,
}

impl Kept {
    fn is_fresh(&self, state: State, now: Instant) -> bool {
        self.state == state && now.saturating_duration_since(self.began) < FOR
    }
}

/// The place of one address.
#[derive(Default)]
struct Slot {
    kept: RwLock<Option<Kept>>,
    /// Held by whoever makes the copy. The others wait for it.
    making: tokio::sync::Mutex<()>,
    /// When it came out that the page is not shared after all, or does not come.
    refused: OnceLock<Instant>,
}

impl Slot {
    /// The copy, where it is good for somebody who came at that time. One that was begun since is as good as their own,
    /// whatever has changed meanwhile; else all who waited would make theirs one after the other on a busy node.
    fn good(&self, state: State, came: Instant, now: Instant) -> Option<Arc<Page>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|k| k.began >= came || k.is_fresh(state, now)).map(|k| k.page.clone())
    }

    fn is_fresh(&self, state: State, now: Instant) -> bool {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().is_some_and(|k| k.is_fresh(state, now))
    }

    fn put(&self, kept: Kept) {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }

    /// Was it refused, and so long ago that it may be declared anew?
    fn is_over(&self, now: Instant) -> bool {
        self.refused.get().is_some_and(|at| now.saturating_duration_since(*at) >= FOR)
    }
}

/// The copies.
#[derive(Default)]
pub(crate) struct Pages(RwLock<HashMap<Key, Arc<Slot>>>);

impl Pages {
    /// The page of an address that was declared: a copy, or what `make` makes for all who wait for it. None sends the
    /// request the ordinary way.
    ///
    /// # Cancel safety
    /// Whoever leaves while making the page leaves that to the next who waits.
    pub async fn page<M>(&self, key: &Key, state: impl Fn() -> State, make: impl FnOnce() -> M) -> Option<Arc<Page>>
    where
        M: Future<Output = Option<Page>>,
    {
        let slot = self.slot(key)?;
        let came = Instant::now();
        if let Some(page) = slot.good(state(), came, came) {
            return Some(page);
        }
        let _one = slot.making.lock().await;
        if slot.refused.get().is_some() {
            return None;
        }
        if let Some(page) = slot.good(state(), came, Instant::now()) {
            return Some(page);
        }
        // Both before the page is begun: a change from here on may be in it or not, so it makes the copy old.
        let (state, began) = (state(), Instant::now());
        let Some(page) = make().await.map(Arc::new) else {
            let _ = slot.refused.set(began);
            return None;
        };
        slot.put(Kept { state, began, page: page.clone() });
        Some(page)
    }

    /// The next who ask for this may have a copy. Where there are too many addresses, those without a good copy go, and
    /// if there are none, all: a flood of addresses costs others a call, and never memory.
    pub fn declare(&self, key: Key, state: State) {
        let now = Instant::now();
        let mut slots = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if slots.get(&key).is_some_and(|slot| !slot.is_over(now)) {
            return;
        }
        if slots.len() >= MOST {
            slots.retain(|_, slot| slot.is_fresh(state, now));
        }
        if slots.len() >= MOST {
            slots.clear();
        }
        slots.insert(key, Arc::default());
    }

    fn slot(&self, key: &Key) -> Option<Arc<Slot>> {
        let slots = self.0.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(key).filter(|slot| slot.refused.get().is_none()).cloned()
    }
}

#[cfg(test)]
mod tests;
