//! The shell around the planners: watches in, keys queued, plans carried out.

mod carry_out;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use kthena_cluster::queue::{RetryLimits, WorkQueue};
use kthena_cluster::{ObjectKey, RequestRate, Scope, WriteError, watch};
use kube::Client;
use std::num::NonZeroU32;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span, warn};

use crate::world::{Event, Key, World};
use crate::{deployment, endpoint_slice, observe, replica_set};

/// Keys that are worked on at the same time.
const WORKERS: usize = 4;
/// Longest pause before a failed key is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a set with unseen pods rests before it is looked at again without any event.
const SEEN_SOON: Duration = Duration::from_secs(5);

/// What all workers share.
pub(crate) struct Shell {
    client: Client,
    world: Mutex<World>,
    queue: WorkQueue<Key>,
}

/// Runs the controllers until `shutdown`; ends when the last write has been answered.
pub async fn run(client: Client, shutdown: CancellationToken) {
    let limits = RetryLimits {
        longest: LONGEST_PAUSE,
        overall: RequestRate {
            per_second: 100.0,
            burst: NonZeroU32::new(500).unwrap_or(NonZeroU32::MIN),
        },
        ..RetryLimits::default()
    };
    let shell = Arc::new(Shell {
        client,
        world: Mutex::default(),
        queue: WorkQueue::new(limits),
    });
    let synced = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for _ in 0..WORKERS {
        tasks.spawn(Arc::clone(&shell).work(synced.clone(), shutdown.clone()));
    }
    tokio::select! {
        () = shell.follow(&synced) => {}
        () = shutdown.cancelled() => {}
    }
    shell.queue.close();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            warn!(%error, "a worker of the built-in controllers ended badly");
        }
    }
}

impl Shell {
    /// Takes events in for ever. Work begins once every kind has been listed, so that nothing is judged on a part.
    async fn follow(&self, synced: &CancellationToken) {
        let everything = Scope::default();
        let client = || self.client.clone();
        let mut events = stream::select_all([
            watch(client(), &everything).map(Event::Deployment).boxed(),
            watch(client(), &everything).map(Event::ReplicaSet).boxed(),
            watch(client(), &everything).map(Event::Pod).boxed(),
            watch(client(), &everything).map(Event::Service).boxed(),
            watch(client(), &everything).map(Event::Slice).boxed(),
        ]);
        while let Some(event) = events.next().await {
            let (keys, complete) = {
                let mut world = self.world();
                (world.apply(&event), world.is_synced())
            };
            for key in keys {
                self.queue.add(key);
            }
            if complete {
                synced.cancel();
            }
        }
    }

    async fn work(self: Arc<Self>, synced: CancellationToken, shutdown: CancellationToken) {
        tokio::select! {
            () = synced.cancelled() => {}
            () = shutdown.cancelled() => return,
        }
        while let Some(claim) = self.queue.next().await {
            if shutdown.is_cancelled() {
                return;
            }
            let span = debug_span!("reconcile", key = ?*claim);
            match self.reconcile(&claim).instrument(span).await {
                Ok(again_in) => {
                    self.queue.forget(&claim);
                    if let Some(delay) = again_in {
                        self.queue.add_after(claim.clone(), delay);
                    }
                }
                Err(error) => {
                    let pause = self.queue.retry(claim.clone());
                    report(&claim, &error, pause);
                }
            }
        }
    }

    /// Brings one object a step nearer to what it shall be; says when to look again without any event.
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, WriteError> {
        match key {
            Key::Deployment(key) => {
                let Some(view) = observe::deployment(&self.world(), key) else {
                    return Ok(None);
                };
                let plan = deployment::plan(&view, Timestamp::now());
                self.carry_out_deployment(key, &plan).await?;
                Ok(plan.again_in)
            }
            Key::ReplicaSet(key) => self.reconcile_set(key).await,
            Key::Service(key) => {
                let Some(view) = observe::service(&self.world(), key) else {
                    return Ok(None);
                };
                let actions = endpoint_slice::plan(&view);
                self.carry_out_slices(key, &actions).await?;
                Ok(None)
            }
        }
    }

    async fn reconcile_set(&self, key: &ObjectKey) -> Result<Option<Duration>, WriteError> {
        let view = {
            let mut world = self.world();
            if world.is_behind(key, Instant::now()) {
                return Ok(Some(SEEN_SOON));
            }
            observe::replica_set(&world, key)
        };
        let Some(view) = view else { return Ok(None) };
        let plan = replica_set::plan(&view, Timestamp::now());
        self.carry_out_set(key, &view.set, &plan).await?;
        Ok(plan.again_in)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A panic while holding it leaves whole objects behind, never half of one.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(key: &Key, error: &WriteError, pause: Duration) {
    match error {
        // The watch will show what changed in the meantime.
        WriteError::Conflict { .. } | WriteError::NotFound | WriteError::AlreadyExists => {
            debug!(?key, %error, ?pause, "another writer was faster");
        }
        _ => warn!(?key, %error, ?pause, "a built-in controller cannot write"),
    }
}
