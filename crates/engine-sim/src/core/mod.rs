//! The batch loop in real time: one task owns the engine, everyone else holds a [`Handle`].
//!
//! A request is a [`Job`] sent to the task; its tokens come back over a channel. The channel is the
//! request's lease: when its receiver is dropped, because the client went away, the request is
//! aborted before the next step.
//!
//! An idle engine waits for a job and for nothing else; there is no timer.

mod clock;
mod halves;
mod kept;
mod link;
mod runner;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use halves::{Half, Lease, Offer, READY};

use crate::batch::{FinishReason, NewRequest, RequestId};
use crate::config::{Adapter, EngineConfig};
use crate::faults::{Fate, FaultDealer, Faults};
use crate::kv_cache::KvEvent;
use crate::metrics::Metrics;

/// Jobs that may wait for the task to take them; it takes them at once, so more is a flood.
const QUEUE: usize = 1024;

/// One choice of a request.
#[derive(Debug)]
pub(crate) struct Part {
    /// What to compute. The task sets the id, the arrival, and what `half` means for the blocks.
    pub(crate) request: NewRequest,
    /// What of it is done here.
    pub(crate) half: Half,
    /// Which choice its tokens belong to.
    pub(crate) choice: u32,
}

/// A request of one or more choices.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) parts: Vec<Part>,
    pub(crate) tokens: mpsc::Sender<TokenEvent>,
}

/// A token has come out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenEvent {
    pub(crate) choice: u32,
    pub(crate) token: u32,
    pub(crate) cached_tokens: u32,
    /// Set with the choice's last token.
    pub(crate) finish: Option<FinishReason>,
}

#[derive(Debug)]
enum Command {
    Submit(Job),
    ResetCache(oneshot::Sender<bool>),
    ForgetAdapter(String),
    /// Someone comes for the blocks kept under a key; the answer is whether they are there.
    Collect(String, Offer, oneshot::Sender<bool>),
    /// Blocks have been fetched, or nobody wants them any more.
    Release(RequestId),
}

/// What the HTTP side and the batch loop share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    metrics: Mutex<Metrics>,
    faults: Mutex<FaultDealer>,
    adapters: Mutex<Vec<Adapter>>,
    ready: AtomicBool,
    died: CancellationToken,
}

/// A way to the engine.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) shared: std::sync::Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// Starts the batch loop of `config`; it ends with `shutdown`. Changes of the cache go to `events`.
pub(crate) fn start(
    config: EngineConfig,
    events: Option<mpsc::Sender<Vec<KvEvent>>>,
    shutdown: CancellationToken,
) -> (Handle, tokio::task::JoinHandle<()>) {
    let started = seconds_since_1970();
    let shared = std::sync::Arc::new(Shared {
        metrics: Mutex::new(Metrics::new(config.dialect, started)),
        faults: Mutex::new(FaultDealer::new(config.faults.clone())),
        adapters: Mutex::new(config.adapters.clone()),
        ready: AtomicBool::new(false),
        died: CancellationToken::new(),
        config,
    });
    let (commands, receiver) = mpsc::channel(QUEUE);
    let runner = runner::Runner::new(shared.clone(), commands.downgrade(), events);
    let task = tokio::spawn(runner.run(receiver, shutdown));
    (Handle { shared, commands }, task)
}

impl Handle {
    /// Hands a request to the engine. False if the engine is gone.
    pub(crate) async fn submit(&self, job: Job) -> bool {
        self.commands.send(Command::Submit(job)).await.is_ok()
    }

    /// Forgets cached prefixes; false while requests run.
    pub(crate) async fn reset_cache(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        let sent = self.commands.send(Command::ResetCache(sender)).await;
        sent.is_ok() && receiver.await.unwrap_or(false)
    }

    /// Takes over the blocks kept under `key`; false if there are none. They are free again once
    /// the other end of `offer` is gone.
    pub(crate) async fn collect(&self, key: String, offer: Offer) -> bool {
        let (sender, receiver) = oneshot::channel();
        let command = Command::Collect(key, offer, sender);
        self.commands.send(command).await.is_ok() && receiver.await.unwrap_or(false)
    }

    /// Frees an adapter's slot.
    pub(crate) async fn forget_adapter(&self, name: &str) {
        // An engine that is gone has no slots.
        let _ = self
            .commands
            .send(Command::ForgetAdapter(name.to_owned()))
            .await;
    }
}

impl Shared {
    pub(crate) fn with_metrics<T>(&self, work: impl FnOnce(&mut Metrics) -> T) -> T {
        work(&mut lock(&self.metrics))
    }

    pub(crate) fn with_adapters<T>(&self, work: impl FnOnce(&mut Vec<Adapter>) -> T) -> T {
        work(&mut lock(&self.adapters))
    }

    pub(crate) fn next_fate(&self) -> Fate {
        lock(&self.faults).deal()
    }

    pub(crate) fn faults(&self) -> Faults {
        lock(&self.faults).faults().clone()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        *lock(&self.faults) = FaultDealer::new(faults);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Cancelled when the engine dies of a fault.
    pub(crate) fn death(&self) -> &CancellationToken {
        &self.died
    }
}

/// A lock of plain data that nothing panics under.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The wall clock, seconds.
pub(crate) fn seconds_since_1970() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs_f64()
}
