//! What the server does on its own: garbage collection, deletion of namespaces and definitions, event expiry, a look at
//! a disk that refuses writes.
//!
//! # Invariants
//!
//! - Every task looks at all objects when it starts and then follows the log of changes, so a crash loses no work.
//! - A task that falls behind the log looks at everything again.
//! - All work is ordinary writes: what others see of it is in version order and on disk.

mod cleanup;
mod disk;
mod events;
mod garbage;

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use kthena_apiserver_objects::{ApiError, Change};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::server::Inner;

/// Writes of one task that are under way at once, so that they share a sync.
const CONCURRENCY: usize = 64;

/// Starts all background tasks; they end when the server closes.
pub(crate) fn spawn(server: &Arc<Inner>, tasks: &TaskTracker) {
    tasks.spawn(garbage::run(Arc::clone(server)));
    tasks.spawn(cleanup::run(Arc::clone(server)));
    tasks.spawn(events::run(Arc::clone(server)));
    tasks.spawn(disk::run(Arc::clone(server)));
}

/// What a follower of the log sees next.
#[derive(Debug)]
enum News {
    /// The changes since the last look, oldest first; may be empty.
    Changes(Vec<Change>),
    /// There were more changes than the log holds.
    Lost,
}

/// Follows the log of changes.
#[derive(Debug)]
struct Follower {
    server: Arc<Inner>,
    versions: watch::Receiver<u64>,
    cursor: u64,
}

impl Follower {
    /// Follows from the present on.
    fn new(server: Arc<Inner>) -> Self {
        let versions = server.engine.versions();
        let cursor = server.engine.store().version();
        Self {
            server,
            versions,
            cursor,
        }
    }

    /// Waits for changes; `None` when the server closes.
    async fn next(&mut self) -> Option<News> {
        let closing = self.server.closing.clone();
        loop {
            self.versions.borrow_and_update();
            if let Some(news) = self.look() {
                return Some(news);
            }
            tokio::select! {
                () = closing.cancelled() => return None,
                changed = self.versions.changed() => changed.ok()?,
            }
        }
    }

    fn look(&mut self) -> Option<News> {
        let store = self.server.engine.store();
        let since = self.cursor;
        self.cursor = store.version();
        if since == self.cursor {
            return None;
        }
        match store.log().since(since) {
            Ok(changes) => Some(News::Changes(changes.cloned().collect())),
            Err(_) => Some(News::Lost),
        }
    }
}

/// Carries out writes side by side. What is gone meanwhile needs no write; other failures are logged.
async fn carry_out<F>(what: &'static str, writes: impl IntoIterator<Item = F>)
where
    F: Future<Output = Result<(), ApiError>> + Send,
{
    let writes = stream::iter(writes).buffer_unordered(CONCURRENCY);
    writes
        .for_each(|outcome| async move {
            match outcome {
                Ok(()) | Err(ApiError::NotFound { .. } | ApiError::ServiceUnavailable { .. }) => {}
                Err(error) => tracing::warn!(what, %error, "a background write failed"),
            }
        })
        .await;
}
