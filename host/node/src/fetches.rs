//! What is being fetched from the swarm: one fetch for each release, which commands and players share. A player's range
//! goes before the rest of it; what a player alone began ends soon after the last one left, and is kept for a day at most,
//! within a room of its own.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fondaco_market::{Bringer, Future, Incoming, Market};
use fondaco_net::{Config, Fetch, Multiaddr, Net, PeerId, Reader, Want, Web, WebSeed};
use fondaco_schemas::{BlobHash, ByteSize, FileInfo, Link, Release, ReleaseId};
use fondaco_store::Store;

use crate::fail::{Done, Fail, chain};

/// How long a fetch goes on that nobody reads any more and no command began.
const LINGER: Duration = Duration::from_secs(30);
/// Fetches that players may have begun at once.
const MOST: usize = 16;
/// Bytes that a cached file counts for at least.
const LEAST: u64 = 4096;

/// The fetches under way.
#[derive(Default)]
pub struct Fetches {
    running: Mutex<HashMap<ReleaseId, Weak<Running>>>,
    /// What visitors alone had brought since the start, when, and its size: the first of it goes when there is no room. What
    /// the operator's own commands fetch is never among it.
    cached: Mutex<HashMap<BlobHash, (Instant, u64)>>,
    /// Room for what visitors want is made for one after the other.
    making_room: tokio::sync::Mutex<()>,
}

/// The fetch of one release. It ends with the last who holds it.
pub struct Running {
    /// The fetch.
    pub fetch: Fetch,
    /// Whose end is told once: true, once it was.
    pub getting: tokio::sync::Mutex<bool>,
    /// Whether somebody wants to keep what comes. What visitors alone had brought is a cache: it goes when something new needs
    /// its room, or with the first tidying of the store that finds it a day old.
    kept: AtomicBool,
    /// Others may have what is there meanwhile.
    _passing: Box<dyn Send + Sync>,
    market: Market,
    release: ReleaseId,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !*self.kept.get_mut() {
            return;
        }
        // What came is kept, also where not all of it did.
        let (market, release) = (self.market.clone(), self.release);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = market.arrived(release).await {
                    tracing::error!(%release, error = %chain(&error), "files that came are not kept");
                }
            });
        }
    }
}

impl Fetches {
    /// The fetch of a release: the one that is under way, or a new one. `lazy`: of those files only that are read, none of
    /// them to be kept, and not if too many such are under way.
    pub fn join(
        &self,
        (net, web): (&Net, &Web),
        market: &Market,
        (id, release): (ReleaseId, &Release),
        Places { peers, web: seeds }: Places,
        lazy: bool,
    ) -> Option<Arc<Running>> {
        if !lazy {
            let mut cached = locked(&self.cached);
            cached.retain(|hash, _| release.files.iter().all(|file| file.hash != *hash));
        }
        let mut running = locked(&self.running);
        running.retain(|_, fetch| fetch.strong_count() > 0);
        if let Some(running) = running.get(&id).and_then(Weak::upgrade).filter(|running| !running.fetch.is_over()) {
            running.kept.fetch_or(!lazy, Ordering::Relaxed);
            for (peer, addresses) in peers {
                running.fetch.add_peer(peer, addresses);
            }
            for seed in seeds {
                running.fetch.add_web_seed(seed, web.clone());
            }
            return Some(running);
        }
        if lazy && running.len() >= MOST {
            return None;
        }
        let want = |f: &FileInfo| Want { hash: f.hash, size: f.size, name: f.path.clone() };
        let wants: Vec<Want> = release.for_everybody().map(want).collect();
        let passing = Box::new(net.pass_on(wants.iter().map(|w| w.hash).collect()));
        let fetch = if lazy { net.fetch_when_read(wants, Some(id), peers) } else { net.fetch(wants, Some(id), peers) };
        for seed in seeds {
            fetch.add_web_seed(seed, web.clone());
        }
        let (getting, market) = (tokio::sync::Mutex::new(false), market.clone());
        let kept = AtomicBool::new(!lazy);
        let new = Arc::new(Running { fetch, getting, kept, _passing: passing, market, release: id });
        running.insert(id, Arc::downgrade(&new));
        Some(new)
    }

    /// Has room for a file that a visitor reads and nobody keeps, among at most `most` bytes of such. What came first of it
    /// and is not being read goes.
    async fn make_room(&self, running: &Running, store: &Store, file: &FileInfo, most: u64) -> Result<(), String> {
        let _one = self.making_room.lock().await;
        let is_known = locked(&self.cached).contains_key(&file.hash);
        if running.kept.load(Ordering::Relaxed) || is_known || store.has(file.hash) {
            return Ok(());
        }
        let size = file.size.max(LEAST);
        let full = |why: &str| format!("{why}; raise cache of [network], which is {}", ByteSize::bytes(most));
        let left =
            most.checked_sub(size).ok_or_else(|| full("it is larger than all that visitors may read at once"))?;
        let mut known: Vec<(Instant, BlobHash, u64)> =
            locked(&self.cached).iter().map(|(hash, (at, size))| (*at, *hash, *size)).collect();
        known.sort_unstable();
        let mut taken = known.iter().fold(0_u64, |sum, (_, _, size)| sum.saturating_add(*size));
        for (_, hash, size) in known {
            if taken <= left {
                break;
            }
            // Taken out before it goes: whoever keeps it from now on holds it himself.
            let Some(entry) = locked(&self.cached).remove(&hash) else { continue };
            let store = store.clone();
            // What somebody keeps by now counts no longer.
            let gone = move || if store.owners(hash).is_empty() { store.discard(hash) } else { Ok(true) };
            let gone = tokio::task::spawn_blocking(gone).await.map_err(|e| chain(&e))?.map_err(|e| chain(&e));
            if gone == Ok(true) {
                taken = taken.saturating_sub(size);
            } else {
                locked(&self.cached).insert(hash, entry);
            }
            gone?;
        }
        if taken > left {
            return Err(full("all that visitors have read is still in use"));
        }
        locked(&self.cached).insert(file.hash, (Instant::now(), size));
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a release may be had, as a link names it.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Nodes.
    pub peers: Vec<(PeerId, Vec<Multiaddr>)>,
    /// Web servers.
    pub web: Vec<WebSeed>,
}

impl Places {
    /// Those that a link names.
    pub fn of(link: &Link) -> Done<Self> {
        let mut peers: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
        for address in &link.addresses {
            let (peer, address) = Config::peer_address(address)?;
            match peers.iter_mut().find(|(known, _)| *known == peer) {
                Some((_, addresses)) => addresses.push(address),
                None => peers.push((peer, vec![address])),
            }
        }
        let seed = |text: &String| WebSeed::new(text).map_err(|e| Fail::usage(format!("the web seed {text:?}: {e}")));
        Ok(Self { peers, web: link.web.iter().map(seed).collect::<Done<_>>()? })
    }
}

/// Brings files of the catalogue from the swarm when somebody asks for them.
pub struct FromSwarm {
    /// The fetches under way.
    pub fetches: Arc<Fetches>,
    /// The swarm.
    pub net: Net,
    /// How web seeds are asked.
    pub web: Web,
    /// The flows.
    pub market: Market,
    /// Bytes of the disk for what visitors read and nobody keeps.
    pub cache: u64,
}

impl Bringer for FromSwarm {
    fn bring(
        &self,
        release: ReleaseId,
        file: FileInfo,
        range: Range<u64>,
    ) -> Future<'_, Result<Box<dyn Incoming>, String>> {
        Box::pin(async move {
            let known = self.market.ledger().release(release).await.map_err(|e| chain(&e))?;
            let (body, _) = known.ok_or("its release is not in the catalogue")?;
            let link = self.market.coming(release).unwrap_or_else(|| Link::to(release));
            let places = Places::of(&link).map_err(|fail| fail.to_string())?;
            let by = (&self.net, &self.web);
            let running = self.fetches.join(by, &self.market, (release, &body), places, true);
            let running = running.ok_or_else(|| format!("{MOST} works are being fetched for players already"))?;
            // It begins when the first byte is asked for.
            let reader = running.fetch.read(file.hash, range).ok_or("nobody but its publisher delivers it")?;
            self.fetches.make_room(&running, self.market.store(), &file, self.cache).await?;
            Ok(Box::new(FromFetch { reader, running: Some(running) }) as Box<dyn Incoming>)
        })
    }
}

/// A player's bytes.
struct FromFetch {
    reader: Reader,
    running: Option<Arc<Running>>,
}

impl Incoming for FromFetch {
    fn next(&mut self) -> Future<'_, Result<Option<Bytes>, String>> {
        Box::pin(async move { self.reader.next().await.map_err(|error| chain(&error)) })
    }
}

impl Drop for FromFetch {
    fn drop(&mut self) {
        // Players ask for one range after the other.
        if let (Some(running), Ok(runtime)) = (self.running.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                drop(running);
            });
        }
    }
}
