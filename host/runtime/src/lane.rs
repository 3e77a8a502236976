//! Where calls go on that compute for long. A call begins on the thread of whoever asked, since most end within a
//! millisecond; one that is still computing after a whole tick moves to a few threads of low priority, where it takes
//! turns with its like. So a plugin that burns its time keeps its own kind waiting, and not pages, files and payments.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// How much less than everything else (`nice`, 0 to 19).
const NICE: i32 = 10;

/// A call that is under way, with everything that it needs.
pub(crate) type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The threads for long calls. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lane(Arc<Threads>);

struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        // The last handle may go away on a thread that must not wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends a call whose asker left.
struct Ends<T>(JoinHandle<T>);

impl<T> Drop for Ends<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lane {
    pub fn new() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads((cores / 2).max(1))
            .thread_name("guests")
            .on_thread_start(|| {
                // Where it is not allowed they compete with the rest, as they did before.
                let _ = rustix::process::nice(NICE);
            })
            .enable_all()
            .build()?;
        Ok(Self(Arc::new(Threads(Some(runtime)))))
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.0.as_ref().map(Runtime::handle)
    }

    /// Runs a call to its end: here, and from when `is_long` says so, on the threads for long ones. Nothing where those
    /// are being stopped.
    ///
    /// # Cancel safety
    /// Dropped before its end, it ends the call.
    pub async fn drive<T: Send + 'static>(&self, is_long: &AtomicBool, mut running: Running<T>) -> Option<T> {
        let ended = poll_fn(|context| match running.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if is_long.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        if ended.is_some() {
            return ended;
        }
        let mut task = Ends(self.handle()?.spawn(running));
        match (&mut task.0).await {
            Ok(value) => Some(value),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn what_is_short_stays_and_what_is_long_moves() {
        let lane = Lane::new().unwrap();
        let is_long = Arc::new(AtomicBool::new(false));
        let here = thread();
        let short: Running<String> = Box::pin(async {
            tokio::task::yield_now().await;
            thread()
        });
        assert_eq!(lane.drive(&is_long, short).await, Some(here.clone()));
        let flag = is_long.clone();
        let long: Running<(String, String)> = Box::pin(async move {
            let before = thread();
            flag.store(true, Ordering::Relaxed);
            tokio::task::yield_now().await;
            (before, thread())
        });
        assert_eq!(lane.drive(&is_long, long).await, Some((here, "guests".into())));
    }

    #[tokio::test]
    async fn a_call_whose_asker_left_is_ended() {
        struct Told(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.take().map(|t| t.send(()));
            }
        }
        let lane = Lane::new().unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        let is_long = AtomicBool::new(true);
        let told_on_drop = Told(Some(tell));
        let endless: Running<()> = Box::pin(async move {
            let _told = told_on_drop;
            std::future::pending::<()>().await;
        });
        let left = tokio::time::timeout(std::time::Duration::from_millis(20), lane.drive(&is_long, endless)).await;
        assert!(left.is_err());
        told.await.unwrap();
    }
}
