//! Keeps the copy in step with the ledger.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{Change, Heard, LIFETIME, Ledger, Store};
use crate::events::Progress;

/// How the copy is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterConfig {
    /// Before Redis is tried again.
    pub retry: Duration,
    /// How often everything is written again, so that it does not seem forgotten. Well below a day.
    pub refresh: Duration,
    /// Most blocks of one engine.
    pub most_blocks: usize,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            retry: Duration::from_secs(2),
            refresh: LIFETIME / 4,
            most_blocks: 4_000_000,
        }
    }
}

/// The task that owns ledger and copy.
#[derive(Debug)]
pub struct Writer {
    config: WriterConfig,
    ledger: Ledger,
    store: Store,
    /// The copy may differ from the ledger.
    behind: bool,
}

impl Writer {
    /// Writes to `store`.
    pub fn new(config: WriterConfig, store: Store) -> Self {
        Self {
            ledger: Ledger::new(config.most_blocks),
            config,
            store,
            behind: false,
        }
    }

    /// Follows `heard` until `shutdown`. `now` gives Unix seconds.
    pub async fn run(
        mut self,
        mut heard: mpsc::Receiver<Heard>,
        now: fn() -> u64,
        shutdown: CancellationToken,
    ) {
        if let Err(error) = self.store.load(&mut self.ledger).await {
            tracing::warn!(%error, "Redis cannot be read; starting without what it knows");
            self.ledger = Ledger::new(self.config.most_blocks);
            self.behind = true;
        }
        let mut retry = interval_at(Instant::now() + self.config.retry, self.config.retry);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refresh = interval_at(Instant::now() + self.config.refresh, self.config.refresh);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                message = heard.recv() => match message {
                    Some(message) => self.take(&message, now()).await,
                    None => return,
                },
                _ = retry.tick(), if self.behind => self.rewrite(now()).await,
                _ = refresh.tick() => self.rewrite(now()).await,
            }
        }
    }

    async fn take(&mut self, heard: &Heard, now: u64) {
        let (progress, mut changes) = self.ledger.observe(heard.rank, heard.sequence);
        match progress {
            Progress::Next => {}
            Progress::Late { missed } => {
                tracing::info!(rank = heard.rank, missed, "joined a running engine");
            }
            Progress::Gap { missed, .. } => {
                tracing::warn!(
                    rank = heard.rank,
                    missed,
                    "cache events were lost; starting over"
                );
            }
            Progress::Restart { .. } => {
                tracing::info!(rank = heard.rank, "the engine restarted; starting over");
            }
        }
        if heard.batch.faulty > 0 {
            tracing::warn!(
                count = heard.batch.faulty,
                "faulty cache events were skipped"
            );
        }
        changes.extend(self.ledger.apply(heard.rank, &heard.batch));
        if self.behind {
            // All of it is written once Redis is back.
            return;
        }
        self.write(&changes, now).await;
    }

    async fn write(&mut self, changes: &[Change], now: u64) {
        if let Err(error) = self.store.write(changes, &self.ledger, now).await {
            tracing::warn!(%error, "Redis cannot be written; trying again");
            self.behind = true;
        }
    }

    async fn rewrite(&mut self, now: u64) {
        match self.store.rewrite(&self.ledger, now).await {
            Ok(()) if self.behind => {
                tracing::info!(blocks = self.ledger.len(), "Redis is up to date again");
                self.behind = false;
            }
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(%error, "Redis still cannot be written");
                self.behind = true;
            }
        }
    }
}
