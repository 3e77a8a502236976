//! How a version leaves: what is under way ends on it, for a while; then it is cut. Called when another version has taken
//! its place, or when it may run no longer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::plugin::Plugin;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Ends every call of one version, those under way and those to come.
pub(crate) struct Cut(watch::Sender<bool>);

impl Default for Cut {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Cut {
    /// What `f` gives, unless it is cut first.
    pub async fn unless<T>(&self, f: impl Future<Output = T>) -> Option<T> {
        let mut cut = self.0.subscribe();
        tokio::select! {
            biased;
            _ = cut.wait_for(|cut| *cut) => None,
            value = f => Some(value),
        }
    }
}

impl Plugin {
    /// Gives this version up once no new caller can find it: waits until nobody uses it, for at most `grace`, then ends
    /// the calls that are left. True: nothing had to be ended.
    ///
    /// # Cancel safety
    /// Dropped half-way, what is under way goes on to its own limits.
    pub async fn retire(self, grace: Duration) -> bool {
        let inner = Arc::downgrade(&self.0);
        drop(self);
        let until = Instant::now() + grace;
        loop {
            match inner.upgrade() {
                None => return true,
                Some(inner) if Instant::now() >= until => {
                    inner.ground.cut.0.send_replace(true);
                    return false;
                }
                Some(_) => {}
            }
            tokio::time::sleep(LOOK.min(grace)).await;
        }
    }

    /// Is it the same loaded version, not only one of the same id?
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
