//! Takes connections from a listener, as many at once as are allowed, and drains them in the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Before another attempt to accept, after one failed.
const PAUSE: Duration = Duration::from_millis(50);

/// Bounds on the connections of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Connections served at once, above zero; further ones wait in the listen queue.
    pub most: usize,
    /// How long connections may go on after shutdown, before they are cut.
    pub drain: Duration,
}

impl Connections {
    /// Runs `converse` for each connection until `shutdown`, then drains. Nothing outlives this.
    pub async fn serve<F>(
        self,
        listener: TcpListener,
        shutdown: &CancellationToken,
        converse: impl Fn(TcpStream) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let tracker = TaskTracker::new();
        let kill = CancellationToken::new();
        let places = Arc::new(Semaphore::new(self.most));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accept(&listener, &places) => accepted,
            };
            let Some((stream, place)) = accepted else {
                continue;
            };
            let (conversation, kill) = (converse(stream), kill.clone());
            tracker.spawn(async move {
                tokio::select! {
                    () = kill.cancelled() => {}
                    () = conversation => {}
                }
                drop(place);
            });
        }
        drop(listener);
        tracker.close();
        if timeout(self.drain, tracker.wait()).await.is_err() {
            kill.cancel();
            tracker.wait().await;
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            let address = listener.local_addr().ok();
            tracing::warn!(%error, ?address, "cannot accept a connection");
            // Out of file descriptors, most likely: trying again at once would only burn the processor.
            sleep(PAUSE).await;
            None
        }
    }
}
