//! What one plugin has used of the network. It lives as long as the node runs, through every reload of the plugin; it is
//! not written down, so that a restart, which only the operator can make, begins the day anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that one plugin has at once, look-ups that still run included.
pub const CONNECTIONS: usize = 6;

/// The window of the byte budget, from its first byte on, by a clock that nobody can set.
const DAY: Duration = Duration::from_hours(24);

pub(crate) struct Account {
    connections: Arc<Semaphore>,
    /// Bytes of the day, and when it began.
    day: Mutex<Option<(u64, Instant)>>,
}

impl Default for Account {
    fn default() -> Self {
        Self { connections: Arc::new(Semaphore::new(CONNECTIONS)), day: Mutex::default() }
    }
}

impl Account {
    /// Counts bytes of today; `false` once they are more than `quota`.
    pub fn count(&self, now: Instant, bytes: u64, quota: u64) -> bool {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        let (spent, began) = day.filter(|(_, began)| now.saturating_duration_since(*began) < DAY).unwrap_or((0, now));
        let spent = spent.saturating_add(bytes);
        *day = Some((spent, began));
        spent <= quota
    }

    /// Waits for a free connection.
    ///
    /// # Cancel safety
    /// The place in the queue is lost, nothing else.
    pub async fn connection(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        let free = tokio::time::timeout(patience, self.connections.clone().acquire_owned()).await;
        free.ok().and_then(Result::ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_the_day() {
        let (account, start) = (Account::default(), Instant::now());
        assert!(account.count(start, 60, 100) && account.count(start, 40, 100) && !account.count(start, 1, 100));
        assert!(
            !account.count(start + Duration::from_hours(24).saturating_sub(Duration::from_secs(1)), 0, 100),
            "the day is not over"
        );
        assert!(account.count(start + DAY, 100, 100) && !account.count(start + DAY, u64::MAX, 100));
    }

    #[tokio::test]
    async fn six_connections_and_the_seventh_waits_in_vain() {
        let account = Account::default();
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(account.connection(Duration::from_secs(1)).await.unwrap());
        }
        assert!(account.connection(Duration::from_millis(20)).await.is_none());
        held.pop();
        assert!(account.connection(Duration::from_secs(1)).await.is_some());
    }
}
