//! The loop of the `ModelServing` controller.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Pod, Service};
use kthena_api::model_serving::ModelServing;
use kthena_cluster::queue::{RetryLimits, WorkQueue};
use kthena_cluster::{Change, ObjectKey, Scope, Target, events, watch, watch_partial};
use kube::Client;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::debug::DebugServer;
use crate::gangs;
use crate::metrics::ResultLabel;
use crate::observe::{self, ObservedPod, ObservedService, ObservedSnapshot};
use crate::pass::{Desk, Next};
use crate::sets::{self, Sets};
use crate::{DriverConfig, DriverError};

/// Name of the controller in events.
const COMPONENT: &str = "modelserving-controller";
/// How long a turn may take to end once it was told to, and events to be written.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long to wait until it is known whether there are `PodGroup`s; who may not ask goes without.
const GANGS: Duration = Duration::from_secs(5);
/// Kinds that are watched.
const KINDS: usize = 4;

/// What the parts of the loop share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) desk: Arc<Desk>,
    pub(crate) queue: WorkQueue<ObjectKey>,
    /// Kinds whose first list has been taken in.
    synced: signal::Sender<usize>,
    /// Whether there are `PodGroup`s is known, and which.
    pub(crate) gangs_known: signal::Sender<bool>,
    pub(crate) gather: Duration,
    /// To be told of changed `ModelServing`s, if `LeaderWorkerSet`s are served.
    sets: Option<Arc<Sets>>,
    pub(crate) stop: CancellationToken,
}

pub(crate) async fn run(
    client: Client,
    config: &DriverConfig,
    stop: CancellationToken,
) -> Result<(), DriverError> {
    let debug = match config.debug_listen {
        Some(address) => Some(DebugServer::bind(address).await?),
        None => None,
    };
    let (recorder, event_writer) = events::recorder(client.clone(), COMPONENT, &config.host);
    let parallel_writes = config.parallel_writes.get();
    let desk = Arc::new(Desk::new(
        client.clone(),
        recorder,
        config.metrics.clone(),
        parallel_writes,
    ));
    let shared = Shared {
        desk,
        queue: WorkQueue::new(RetryLimits::default()),
        synced: signal::Sender::new(0),
        gangs_known: signal::Sender::new(false),
        gather: config.gather,
        sets: config.leader_worker_sets.then(|| Arc::new(Sets::new())),
        stop: stop.clone(),
    };
    let mut tasks = JoinSet::new();
    shared.serve_sets(config, &mut tasks);
    shared
        .clone()
        .watch_all(&client, config.namespace.as_deref(), &mut tasks);
    if let Some(debug) = debug {
        tasks.spawn(debug.serve(Arc::clone(&shared.desk), stop.clone()));
    }
    for _ in 0..config.workers.get() {
        tasks.spawn(shared.clone().work());
    }
    drop(shared);
    let events = tokio::spawn(event_writer.run());
    let outcome = finish(tasks, &stop).await;
    // The recorders are gone with the tasks, so the writer ends once everything is told.
    let mut events = events;
    if tokio::time::timeout(LAST_WORDS, &mut events).await.is_err() {
        events.abort();
    }
    outcome
}

/// Waits for the tasks: until told to stop for ever, then not much longer.
async fn finish(mut tasks: JoinSet<()>, stop: &CancellationToken) -> Result<(), DriverError> {
    let mut outcome = Ok(());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            ended = tasks.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(panicked)) => {
                    outcome = Err(DriverError::Task(panicked));
                    stop.cancel();
                }
                None => break,
            },
        }
    }
    let rest = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, rest).await.is_err() {
        tracing::warn!("requests did not end in time and are given up");
        tasks.shutdown().await;
    }
    outcome
}

impl Shared {
    /// Serves `LeaderWorkerSet`s beside, if that is asked for.
    fn serve_sets(&self, config: &DriverConfig, tasks: &mut JoinSet<()>) {
        let Some(sets) = self.sets.clone() else {
            return;
        };
        let scope = Scope {
            namespace: config.namespace.clone(),
            ..Scope::default()
        };
        let mut synced = self.synced.subscribe();
        let listed = async move {
            // An error says that the loop has ended, and then nobody works any more.
            let _ = synced.wait_for(|kinds| *kinds >= KINDS).await;
        };
        let (desk, host, stop) = (
            Arc::clone(&self.desk),
            config.host.clone(),
            self.stop.clone(),
        );
        tasks.spawn(sets::run(sets, desk, scope, host, listed, stop));
    }

    fn watch_all(self, client: &Client, namespace: Option<&str>, tasks: &mut JoinSet<()>) {
        let all = Scope {
            namespace: namespace.map(str::to_owned),
            ..Scope::default()
        };
        let parts = Scope {
            labels: Some(observe::PARTS.to_owned()),
            ..all.clone()
        };
        let snapshots = Scope {
            labels: Some(observe::SNAPSHOTS.to_owned()),
            ..all.clone()
        };
        let servings = watch::<ModelServing>(client.clone(), &all);
        let pods = watch_partial::<ObservedPod>(client.clone(), Target::of::<Pod>(), &parts);
        let services =
            watch_partial::<ObservedService>(client.clone(), Target::of::<Service>(), &parts);
        let revisions = watch_partial::<ObservedSnapshot>(
            client.clone(),
            Target::of::<ControllerRevision>(),
            &snapshots,
        );

        tasks.spawn(gangs::follow(self.clone(), client.clone(), parts.clone()));
        let sets = self.sets.clone();
        let on_serving = move |desk: &Desk, change: &_| {
            let key = desk.caches().apply_serving(change);
            if let Some(sets) = &sets {
                sets.wake(change);
            }
            key.into_iter().collect()
        };
        tasks.spawn(self.clone().follow(servings, Duration::ZERO, on_serving));
        let gather = self.gather;
        tasks.spawn(self.clone().follow(pods, gather, |desk, change| {
            desk.caches().pods.apply(change)
        }));
        tasks.spawn(self.clone().follow(services, gather, |desk, change| {
            desk.caches().services.apply(change)
        }));
        tasks.spawn(self.follow(revisions, gather, |desk, change| {
            desk.caches().snapshots.apply(change)
        }));
    }

    /// Takes changes into the caches and puts the keys they concern on the queue.
    async fn follow<K, T>(self, changes: impl Stream<Item = Change<K>>, delay: Duration, take: T)
    where
        T: Fn(&Desk, &Change<K>) -> Vec<ObjectKey>,
    {
        let mut changes = std::pin::pin!(changes);
        let mut is_first = true;
        loop {
            let change = tokio::select! {
                () = self.stop.cancelled() => return,
                change = changes.next() => change,
            };
            let Some(change) = change else { return };
            let keys = take(&self.desk, &change);
            if is_first && matches!(change, Change::Synced) {
                is_first = false;
                self.synced.send_modify(|kinds| *kinds += 1);
            }
            for key in keys {
                self.queue.add_after(key, delay);
            }
        }
    }

    /// Works on keys once all kinds have been listed.
    async fn work(self) {
        let mut synced = self.synced.subscribe();
        tokio::select! {
            () = self.stop.cancelled() => return,
            _ = synced.wait_for(|kinds| *kinds >= KINDS) => {}
        }
        let mut known = self.gangs_known.subscribe();
        tokio::select! {
            () = self.stop.cancelled() => return,
            _ = tokio::time::timeout(GANGS, known.wait_for(|known| *known)) => {}
        }
        drop(known);
        loop {
            let claim = tokio::select! {
                () = self.stop.cancelled() => return,
                claim = self.queue.next() => claim,
            };
            let Some(claim) = claim else { return };
            self.desk.metrics.queue(self.queue.depth());
            let started = Instant::now();
            let next = self.desk.turn(&claim).await;
            let result = if next == Next::Retry {
                ResultLabel::error
            } else {
                ResultLabel::success
            };
            self.desk.metrics.turned(result, started.elapsed());
            let key = claim.clone();
            drop(claim);
            next.schedule(&self.queue, key);
        }
    }
}
