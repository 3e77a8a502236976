//! The memory of all guests together. Half of it is set aside in equal parts, one for each plugin, and nobody else's
//! greed takes that away; the other half goes to whoever comes first. So a plugin that hoards in every instance meets
//! its own end, never another plugin's, and never the machine's. Calls reserve what an instance begins with before they
//! start, and wait for it; what an instance grows by later is there or is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// What all guests of a node may have together, where the operator sets nothing else.
pub const USUAL_MEMORY: usize = 256 << 20;

/// The memory of all guests together. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Inner>);

struct Inner {
    used: Mutex<Used>,
    freed: Notify,
}

struct Used {
    total: usize,
    next: u64,
    by_plugin: BTreeMap<u64, usize>,
}

impl Used {
    /// What is set aside for each plugin.
    fn reserved(&self) -> usize {
        self.total / 2 / self.by_plugin.len().max(1)
    }

    fn take(&mut self, plugin: u64, more: usize) -> bool {
        let reserved = self.reserved();
        let over = |used: usize| used.saturating_sub(reserved);
        let shared: usize = self.by_plugin.values().map(|u| over(*u)).sum();
        let open = self.total - reserved * self.by_plugin.len().max(1);
        let Some(used) = self.by_plugin.get_mut(&plugin) else { return false };
        let after = used.saturating_add(more);
        let fits = after <= reserved || shared - over(*used) + over(after) <= open;
        if fits {
            *used = after;
        }
        fits
    }
}

impl Budget {
    pub fn new(total: usize) -> Self {
        let used = Used { total, next: 0, by_plugin: BTreeMap::new() };
        Self(Arc::new(Inner { used: Mutex::new(used), freed: Notify::new() }))
    }

    fn used<T>(&self, ask: impl FnOnce(&mut Used) -> T) -> T {
        ask(&mut self.0.used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A plugin's part.
    pub fn share(&self) -> Arc<Share> {
        let id = self.used(|u| {
            u.next += 1;
            u.by_plugin.insert(u.next, 0);
            u.next
        });
        Arc::new(Share { budget: self.clone(), id })
    }
}

/// One plugin's part of the memory, as long as it is loaded.
pub(crate) struct Share {
    budget: Budget,
    id: u64,
}

impl Share {
    /// Waits until so much is there.
    pub async fn lease(self: &Arc<Self>, bytes: usize) -> Lease {
        let mut lease = Lease { share: self.clone(), held: 0 };
        loop {
            let freed = self.budget.0.freed.notified();
            tokio::pin!(freed);
            // From here on no release is missed.
            freed.as_mut().enable();
            if lease.grow_to(bytes) {
                return lease;
            }
            freed.await;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used(|u| u.by_plugin.remove(&self.id));
        self.budget.0.freed.notify_waiters();
    }
}

/// What one instance holds of it.
pub(crate) struct Lease {
    share: Arc<Share>,
    held: usize,
}

impl Lease {
    /// Whether another plugin has more than this one.
    pub fn is_outdone(&self) -> bool {
        let id = self.share.id;
        self.share.budget.used(|u| {
            let own = u.by_plugin.get(&id).copied().unwrap_or(0);
            u.by_plugin.iter().any(|(other, used)| *other != id && *used > own)
        })
    }

    /// Whose part it is of.
    #[cfg(test)]
    pub fn share(&self) -> Arc<Share> {
        self.share.clone()
    }
    /// Takes what is missing up to so much, if it is there.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.held);
        let fits = more == 0 || self.share.budget.used(|u| u.take(self.share.id, more));
        if fits {
            self.held += more;
        }
        fits
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.held == 0 {
            return;
        }
        let (id, held) = (self.share.id, self.held);
        self.share.budget.used(|u| {
            if let Some(used) = u.by_plugin.get_mut(&id) {
                *used = used.saturating_sub(held);
            }
        });
        self.share.budget.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lease(share: &Arc<Share>) -> Lease {
        Lease { share: share.clone(), held: 0 }
    }

    #[test]
    fn a_hoarder_takes_the_open_half_and_nobodys_part() {
        let budget = Budget::new(1_000);
        let (hoarder, honest) = (budget.share(), budget.share());
        let mut hoard = lease(&hoarder);
        assert!(hoard.grow_to(750), "its own 250 and the open 500");
        assert!(!hoard.grow_to(751));
        let (mut a, mut b) = (lease(&honest), lease(&honest));
        assert!(a.grow_to(150) && b.grow_to(100), "what is set aside is there");
        assert!(!b.grow_to(101));
        drop(hoard);
        assert!(b.grow_to(600), "what was given back goes to whoever asks");
        drop((a, b, honest));
        assert!(lease(&hoarder).grow_to(1_000), "alone it has all");
    }

    #[tokio::test]
    async fn a_call_waits_for_what_it_begins_with() {
        let budget = Budget::new(100);
        let share = budget.share();
        let first = share.lease(80).await;
        let second = tokio::spawn({
            let share = share.clone();
            async move { share.lease(30).await.held }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert_eq!(second.await.unwrap(), 30);
    }

    proptest! {
        /// Whoever takes and gives back what: the sum stays within the whole, and whoever is within its part always gets.
        #[test]
        fn the_whole_is_never_exceeded(steps in prop::collection::vec((0_usize..4, 0_usize..6, 0_usize..600), 1..200)) {
            let budget = Budget::new(1_000);
            let shares: Vec<_> = (0..4).map(|_| budget.share()).collect();
            let mut leases: Vec<Vec<Lease>> = (0..4).map(|_| Vec::new()).collect();
            for (plugin, act, bytes) in steps {
                let before: usize = leases[plugin].iter().map(|l| l.held).sum();
                if act == 0 && !leases[plugin].is_empty() {
                    leases[plugin].pop();
                } else {
                    let mut lease = lease(&shares[plugin]);
                    let got = lease.grow_to(bytes);
                    prop_assert!(got || before + bytes > 125, "{before} and {bytes} are within its part");
                    leases[plugin].push(lease);
                }
                let sum: usize = leases.iter().flatten().map(|l| l.held).sum();
                prop_assert!(sum <= 1_000, "{sum}");
            }
        }
    }
}
