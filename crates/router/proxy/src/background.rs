//! What a router does beside its requests: one thread that watches engines.
//!
//! Everything here runs on one small runtime of its own, so that a thousand engines to look after cost requests
//! nothing but the processor time itself.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::kv::KvAware;
use crate::profile_reload;
use crate::queueing;
use crate::scrape::{Pod, ScrapeConfig, Scraper, pods};
use crate::shared::Shared;
use crate::sharing;

/// The thread. It ends when this drops.
pub(crate) struct Background {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Watches the engines of whatever snapshot is current: asks them for their state if there is a `scrape` config,
    /// and keeps the cache index up to date if there is one.
    pub(crate) fn start(shared: Arc<Shared>, scrape: Option<ScrapeConfig>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("engines".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let watching = watch_engines(Arc::clone(&shared), scrape);
                    // What is shared is taken back at the end, so it ends by itself.
                    let sharing = sharing::run(&shared, stopped.clone());
                    tokio::join!(stopped.run_until_cancelled(watching), sharing);
                });
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches engines panicked");
        }
    }
}

async fn watch_engines(shared: Arc<Shared>, scrape: Option<ScrapeConfig>) {
    let (sender, receiver) = watch::channel(None);
    let scraping = async {
        let Some(config) = scrape else {
            return std::future::pending().await;
        };
        let origin = Instant::from_std(shared.started);
        let scraper = Scraper::new(config, origin, Arc::clone(&shared.engines));
        scraper
            .run(receiver.clone(), || shared.set_measured())
            .await;
    };
    let indexing = async {
        match &shared.kv {
            Some(kv) => {
                let wanted = shared.schedulers.wanted();
                KvAware::keep_up(kv, receiver.clone(), wanted).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = follow_snapshots(&shared, &sender) => {}
        () = scraping => {}
        () = indexing => {}
        () = queueing::run(&shared) => {}
        () = profile_reload::run(&shared) => {}
    }
}

/// Tells which pods there are, from when all of them are known. Never ends.
async fn follow_snapshots(shared: &Shared, pods_now: &watch::Sender<Option<Arc<[Pod]>>>) {
    loop {
        let changed = shared.snapshot_changed();
        if shared.is_synced() {
            let pods: Arc<[Pod]> = pods(&shared.snapshot.load(), &shared.engine_tls).into();
            pods_now.send_replace(Some(pods));
        }
        changed.await;
    }
}
