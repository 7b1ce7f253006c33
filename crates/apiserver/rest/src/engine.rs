//! Owns the objects: every write passes through one thread, every read is answered from memory.
//!
//! The thread plans writes one after the other on a store of its own that runs ahead of the visible one, and syncs
//! all that queued up meanwhile in one database commit. So many writers share one sync, and a plan always sees the
//! newest state, which makes optimistic retries unnecessary.
//!
//! # Invariants
//!
//! - A change becomes visible, and its writer hears of it, only after it is synced to disk.
//! - If the disk refuses a batch, nothing of it becomes visible and the store that ran ahead is thrown away. Whether
//!   the disk holds some of it is not known, so the next batch writes all that it touched as it is in memory.
//! - The catalog follows a `CustomResourceDefinition` before the writer hears of it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    thread,
};

use kthena_apiserver_objects::{
    ApiError, Change, ChangeKind, GroupResource, Object, Planned, Resource, Scope, Store,
    watch_log::LogLimits,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    catalog::{Catalog, custom},
    database::{Database, DatabaseError, Loaded, Storage, Write},
    error::ServerError,
};

/// Writes that may wait for the thread.
const QUEUE: usize = 1024;

/// Most writes that share one sync.
const BATCH: usize = 512;

type Plan = Box<dyn FnOnce(&Store) -> Result<Planned, ApiError> + Send>;

/// Work on its way to the thread.
enum Job {
    /// A write.
    Write {
        plan: Plan,
        reply: oneshot::Sender<Result<Planned, ApiError>>,
    },
    /// A try whether the disk takes writes again.
    Probe,
}

/// The objects, for reading and writing.
#[derive(Debug)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
    jobs: RwLock<Option<mpsc::Sender<Job>>>,
    thread: std::sync::Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    store: RwLock<Store>,
    catalog: RwLock<Arc<Catalog>>,
    version: watch::Sender<u64>,
    /// Why the disk refused the last batch; `None` if it did not.
    fault: watch::Sender<Option<Arc<str>>>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the database at `path` and takes over what it holds.
    pub(crate) fn open(
        path: &Path,
        storage: Storage,
        limits: LogLimits,
    ) -> Result<Self, ServerError> {
        let (database, loaded) = Database::open(path, storage)?;
        let (store, catalog) = restore(loaded, limits)?;
        let head = copy(&store);
        let shared = Arc::new(Shared {
            version: watch::Sender::new(store.version()),
            fault: watch::Sender::new(None),
            store: RwLock::new(store),
            catalog: RwLock::new(Arc::new(catalog)),
        });
        let (jobs, queue) = mpsc::channel(QUEUE);
        let writer = Writer {
            shared: Arc::clone(&shared),
            head,
            database,
            suspects: BTreeMap::new(),
        };
        let thread = thread::Builder::new()
            .name("apiserver-writer".into())
            .spawn(move || writer.run(queue))
            .map_err(ServerError::Thread)?;
        Ok(Self {
            shared,
            jobs: RwLock::new(Some(jobs)),
            thread: std::sync::Mutex::new(Some(thread)),
        })
    }

    /// The visible objects. Hold the guard shortly and never across an await.
    pub(crate) fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.shared.store()
    }

    /// The resource types served now.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog()
    }

    /// Follows the newest visible version.
    pub(crate) fn versions(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Follows why the disk refuses writes; `None` while it takes them.
    pub(crate) fn fault(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.fault.subscribe()
    }

    /// Has the thread try the disk, which ends the fault if it takes writes again.
    pub(crate) async fn probe(&self) {
        if let Ok(jobs) = self.jobs() {
            // A thread that has ended needs no probe.
            drop(jobs.send(Job::Probe).await);
        }
    }

    fn jobs(&self) -> Result<mpsc::Sender<Job>, ApiError> {
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        jobs.clone().ok_or_else(stopping)
    }

    /// Plans a write on the newest state and, unless it is a dry run, waits until it is on disk and visible.
    pub(crate) async fn write(
        &self,
        dry_run: bool,
        plan: impl FnOnce(&Store) -> Result<Planned, ApiError> + Send + 'static,
    ) -> Result<Planned, ApiError> {
        if dry_run {
            return plan(&self.store());
        }
        let jobs = self.jobs()?;
        let (reply, answer) = oneshot::channel();
        let job = Job::Write {
            plan: Box::new(plan),
            reply,
        };
        jobs.send(job).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Finishes the writes that are queued and closes the database.
    pub(crate) async fn close(&self) {
        self.jobs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && let Err(error) = tokio::task::spawn_blocking(move || thread.join()).await
        {
            tracing::error!(%error, "the writer did not end well");
        }
    }
}

fn stopping() -> ApiError {
    ApiError::ServiceUnavailable {
        message: "the server is shutting down".into(),
    }
}

impl Shared {
    fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The thread that plans and commits.
#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    /// As the visible store will be once all planned changes are on disk. Its log is never read.
    head: Store,
    database: Database,
    /// Objects of refused batches, by their key on disk, which may hold them or not.
    suspects: BTreeMap<String, (GroupResource, String, String)>,
}

type Reply = (
    oneshot::Sender<Result<Planned, ApiError>>,
    Result<Planned, ApiError>,
);

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            let mut replies: Vec<Reply> = Vec::new();
            let mut changes: Vec<Change> = Vec::new();
            self.take(job, &mut changes, &mut replies);
            while replies.len() < BATCH {
                match queue.try_recv() {
                    Ok(job) => self.take(job, &mut changes, &mut replies),
                    Err(_) => break,
                }
            }
            self.finish(&changes, replies);
        }
    }

    fn take(&mut self, job: Job, changes: &mut Vec<Change>, replies: &mut Vec<Reply>) {
        if let Job::Write { plan, reply } = job {
            let planned = self.plan(plan);
            if let Ok(planned) = &planned {
                changes.extend(planned.changes.iter().cloned());
            }
            replies.push((reply, planned));
        }
    }

    /// Plans one write on the head; refusals and writes without effect on disk are answered with the batch too,
    /// because they may rest on changes of it.
    fn plan(&mut self, plan: Plan) -> Result<Planned, ApiError> {
        let planned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| plan(&self.head)));
        let planned =
            planned.unwrap_or_else(|_| Err(ApiError::internal("planning the write failed")))?;
        self.head.commit(&planned.changes)?;
        Ok(planned)
    }

    fn finish(&mut self, changes: &[Change], replies: Vec<Reply>) {
        let outcome = self.persist(changes);
        if let Err(error) = &outcome {
            self.note_fault(changes, error);
        } else {
            self.suspects.clear();
            self.shared.fault.send_if_modified(|fault| {
                let ended = fault.take().is_some();
                if ended {
                    tracing::info!("the disk takes writes again");
                }
                ended
            });
            self.publish(changes);
        }
        for (reply, planned) in replies {
            let answer = match &outcome {
                Ok(()) => planned,
                Err(error) => Err(refusal(error)),
            };
            // The client is gone if nobody listens; there is nothing else to tell it.
            drop(reply.send(answer));
        }
    }

    /// Forgets what was planned and remembers what the disk may hold of it.
    fn note_fault(&mut self, changes: &[Change], error: &DatabaseError) {
        let text: Arc<str> = full_text(error).into();
        self.shared.fault.send_if_modified(|fault| {
            let begun = fault.is_none();
            if begun {
                tracing::error!(error = %text, "the disk refuses writes; reads go on");
            }
            *fault = Some(text);
            begun
        });
        for change in changes {
            let object = &change.object;
            let place = (
                change.resource.clone(),
                object.namespace().to_owned(),
                object.name().to_owned(),
            );
            self.suspects
                .insert(disk_key(&place.0, &place.1, &place.2), place);
        }
        self.head = copy(&self.shared.store());
    }

    fn persist(&mut self, changes: &[Change]) -> Result<(), DatabaseError> {
        let failing = self.shared.fault.borrow().is_some();
        if changes.is_empty() && !failing {
            return Ok(());
        }
        let mut writes = self.restored();
        writes.extend(changes.iter().map(to_write));
        let version = changes
            .last()
            .map_or_else(|| self.shared.store().version(), |last| last.version);
        self.database.commit(&writes, version)
    }

    /// The suspects as they are in memory.
    fn restored(&self) -> Vec<Write> {
        let store = self.shared.store();
        let suspects = self.suspects.iter();
        suspects
            .map(|(key, (resource, namespace, name))| Write {
                key: key.clone(),
                value: store
                    .get(resource, namespace, name)
                    .map(|object| object.bytes().clone()),
            })
            .collect()
    }

    fn publish(&self, changes: &[Change]) {
        let Some(last) = changes.last() else {
            return;
        };
        let definitions = custom::definitions();
        let mut catalog_changed = false;
        {
            let mut store = self
                .shared
                .store
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = store.commit(changes) {
                tracing::error!(%error, "a synced change does not fit the visible store");
            }
            for change in changes {
                catalog_changed |= change.resource == definitions;
            }
            if catalog_changed {
                let catalog = custom::updated(&self.shared.catalog(), &store);
                *self
                    .shared
                    .catalog
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
            }
        }
        self.shared.version.send_replace(last.version);
    }
}

/// What a writer is told whose change did not reach the disk.
fn refusal(error: &DatabaseError) -> ApiError {
    let text = full_text(error);
    if !error.is_full() {
        return ApiError::internal(text);
    }
    ApiError::StorageFull {
        message: format!(
            "nothing was changed, because the disk is full; writes go on as soon as there is room ({text})"
        ),
    }
}

/// An error with all its causes.
fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// A store with the same objects and no history.
fn copy(store: &Store) -> Store {
    let objects: Vec<(GroupResource, Object)> = store
        .resources()
        .flat_map(|resource| {
            store
                .objects(resource, None)
                .map(|object| (resource.clone(), Object::clone(object)))
        })
        .collect();
    let no_history = LogLimits {
        changes: 0,
        bytes: 0,
    };
    Store::restore(no_history, store.version(), objects)
}

fn to_write(change: &Change) -> Write {
    let object = &change.object;
    let value = (change.kind != ChangeKind::Deleted).then(|| object.bytes().clone());
    Write {
        key: disk_key(&change.resource, object.namespace(), object.name()),
        value,
    }
}

/// No part can hold a slash, so the parts can be told apart again.
fn disk_key(resource: &GroupResource, namespace: &str, name: &str) -> String {
    format!(
        "{}/{}/{namespace}/{name}",
        resource.group(),
        resource.resource()
    )
}

/// Reads what was on disk. `CustomResourceDefinitions` come first, since they say how to read the rest.
fn restore(loaded: Loaded, limits: LogLimits) -> Result<(Store, Catalog), ServerError> {
    let builtin = Catalog::builtin().map_err(|cause| ServerError::Schema(Box::new(cause)))?;
    let definitions = custom::definitions();
    let prefix = format!("{}/{}/", definitions.group(), definitions.resource());
    let (first, rest): (Vec<_>, Vec<_>) = loaded
        .objects
        .into_iter()
        .partition(|(key, _)| key.starts_with(&prefix));
    let mut objects = Vec::with_capacity(first.len() + rest.len());
    for (key, bytes) in first {
        objects.push(read(&builtin, &key, bytes)?);
    }
    let known = Store::restore(limits, 0, objects.iter().cloned());
    let catalog = custom::updated(&builtin, &known);
    for (key, bytes) in rest {
        objects.push(read(&catalog, &key, bytes)?);
    }
    Ok((Store::restore(limits, loaded.revision, objects), catalog))
}

fn read(
    catalog: &Catalog,
    key: &str,
    bytes: bytes::Bytes,
) -> Result<(GroupResource, Object), ServerError> {
    let mut parts = key.splitn(3, '/');
    let (group, plural) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let place = GroupResource::new(group, plural);
    // An object whose definition is gone stays on disk as it is, until its kind comes back.
    let orphan = || Resource::custom(group, plural, "", Scope::Namespaced, false, &[]);
    let rules = catalog
        .stored_as(&place)
        .map_or_else(orphan, |kind| Resource::clone(&kind.rules));
    let damaged = |cause| ServerError::Damaged {
        key: key.to_owned(),
        cause: Box::new(cause),
    };
    let object = Object::from_bytes(&rules, bytes).map_err(damaged)?;
    Ok((place, object))
}
