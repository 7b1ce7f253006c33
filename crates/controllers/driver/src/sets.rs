//! Runs the planner of `LeaderWorkerSet`s, while the cluster has the kind.
//!
//! `ModelServing`s are not watched a second time; the controller that does tells which of them changed.
//!
//! # Where to go next
//!
//! `turn` is one turn for one set, `rival` finds out whether another controller serves it.

mod rival;
mod turn;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::StreamExt;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::events;
use kthena_cluster::queue::{RetryLimits, WorkQueue};
use kthena_cluster::watch::Named;
use kthena_cluster::{Change, ObjectKey, Scope, Store, watch};
use kthena_controllers_leader_worker_set::{DEFINITION, LeaderWorkerSet};
use kube::Client;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::kinds::{self, Changes};
use crate::pass::Desk;
use turn::Clerk;

/// Name of the controller in events.
const COMPONENT: &str = "leaderworkerset-controller";

/// The sets that are known, and those that need work.
#[derive(Debug)]
pub(crate) struct Sets {
    queue: WorkQueue<ObjectKey>,
    store: Mutex<Store<LeaderWorkerSet>>,
}

/// Of the definition it only matters that it is there.
#[derive(Debug, Deserialize)]
struct Defined {
    metadata: DefinedMeta,
}

#[derive(Debug, Deserialize)]
struct DefinedMeta {
    name: String,
}

impl Named for Defined {
    fn key(&self) -> ObjectKey {
        ObjectKey::new("", self.metadata.name.clone())
    }
}

impl Sets {
    pub(crate) fn new() -> Self {
        Self {
            queue: WorkQueue::new(RetryLimits::default()),
            store: Mutex::default(),
        }
    }

    /// A `ModelServing` changed, and whoever reads the caches can see it: its set must be looked at, if it has one.
    pub(crate) fn wake(&self, change: &Change<ModelServing>) {
        let (Change::Applied(object) | Change::Deleted(object)) = change else {
            return;
        };
        let key = object.key();
        if self.get(&key).is_some() {
            self.queue.add(key);
        }
    }

    fn get(&self, key: &ObjectKey) -> Option<Arc<LeaderWorkerSet>> {
        self.store().get(key).map(Arc::clone)
    }

    fn store(&self) -> MutexGuard<'_, Store<LeaderWorkerSet>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observed(&self, change: &Change<LeaderWorkerSet>) {
        if let Change::Undecodable { key, fault } = change {
            tracing::error!(%key, fault, "LeaderWorkerSet cannot be read; its last good form stays in force");
            return;
        }
        let key = self.store().apply(change);
        if let Some(key) = key {
            self.queue.add(key);
        }
    }

    /// Nobody can have sets any more.
    fn clear(&self) {
        *self.store() = Store::default();
    }
}

/// Takes sets in and serves them until told to stop. `listed` ends once all `ModelServing`s are known.
pub(crate) async fn run(
    sets: Arc<Sets>,
    desk: Arc<Desk>,
    scope: Scope,
    host: String,
    listed: impl Future<Output = ()>,
    stop: CancellationToken,
) {
    let client = desk.client.clone();
    let (recorder, event_writer) = events::recorder(client.clone(), COMPONENT, &host);
    let clerk = Clerk::new(Arc::clone(&sets), desk, recorder);
    // The recorder goes with the worker, so the writer ends once everything is told.
    tokio::join!(
        follow(&sets, client, &scope, &stop),
        work(&sets, clerk, listed, &stop),
        event_writer.run(),
    );
}

/// Takes in definitions and sets.
async fn follow(sets: &Sets, client: Client, scope: &Scope, stop: &CancellationToken) {
    let mut definitions = kinds::definition::<Defined>(client.clone(), DEFINITION);
    let mut objects: Option<Changes<LeaderWorkerSet>> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            change = definitions.next() => match change {
                Some(Change::Applied(_)) if objects.is_none() => {
                    tracing::info!("the cluster has LeaderWorkerSets, they are served from now on");
                    objects = Some(Box::pin(watch(client.clone(), scope)));
                }
                Some(Change::Deleted(_)) => {
                    tracing::info!("the cluster has no LeaderWorkerSets any more");
                    objects = None;
                    sets.clear();
                }
                Some(_) => {}
                None => return,
            },
            Some(change) = kinds::next(&mut objects) => sets.observed(&change),
        }
    }
}

/// Works on one set at a time.
async fn work(
    sets: &Sets,
    mut clerk: Clerk,
    listed: impl Future<Output = ()>,
    stop: &CancellationToken,
) {
    tokio::select! {
        () = stop.cancelled() => return,
        () = listed => {}
    }
    loop {
        let claim = tokio::select! {
            () = stop.cancelled() => return,
            claim = sets.queue.next() => claim,
        };
        let Some(claim) = claim else { return };
        let next = clerk.turn(&claim).await;
        let key = claim.clone();
        drop(claim);
        next.schedule(&sets.queue, key);
    }
}
