//! Follows the `ModelServing`s, says how far they are, and waits for all of them.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use kthena_api::model_serving::ModelServing;
use kthena_cluster::watch::Named;
use kthena_cluster::{Change, ObjectKey, Scope, Target, watch_partial};
use kube::Client;
use serde::Deserialize;

use crate::AnyError;

/// Longest time without any change of any object before it is given up.
const PATIENCE: Duration = Duration::from_mins(5);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Watched {
    metadata: WatchedMeta,
    status: WatchedStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WatchedMeta {
    name: String,
    namespace: String,
    generation: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedStatus {
    observed_generation: i64,
    available_replicas: usize,
    updated_replicas: usize,
    replicas: usize,
    current_revision: String,
    update_revision: String,
}

impl Named for Watched {
    fn key(&self) -> ObjectKey {
        ObjectKey::new(self.metadata.namespace.clone(), self.metadata.name.clone())
    }
}

impl Watched {
    /// All groups are there, available and of the newest revision.
    fn is_done(&self, groups: usize, generation: i64) -> bool {
        let status = &self.status;
        self.metadata.generation >= generation
            && status.observed_generation == self.metadata.generation
            && [
                status.replicas,
                status.available_replicas,
                status.updated_replicas,
            ] == [groups; 3]
            && status.current_revision == status.update_revision
    }
}

/// The objects as last reported.
pub(crate) struct Progress {
    changes: Pin<Box<dyn Stream<Item = Change<Watched>>>>,
    objects: HashMap<ObjectKey, std::sync::Arc<Watched>>,
    groups: usize,
    begun: Instant,
}

impl Progress {
    pub(crate) fn new(client: Client, groups: usize) -> Self {
        let target = Target::of::<ModelServing>();
        Self {
            changes: Box::pin(watch_partial(client, target, &Scope::default())),
            objects: HashMap::new(),
            groups,
            begun: Instant::now(),
        }
    }

    /// Waits until `count` objects are done with this generation of their spec, while `beside` goes on.
    pub(crate) async fn until_done(
        &mut self,
        count: usize,
        generation: i64,
        beside: impl Future<Output = AnyError>,
    ) -> Result<(), AnyError> {
        let mut beside = pin!(beside);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut changed = Instant::now();
        loop {
            let done = self.objects.values();
            let done = done
                .filter(|one| one.is_done(self.groups, generation))
                .count();
            if done == count {
                self.say(done, count, true);
                return Ok(());
            }
            tokio::select! {
                error = &mut beside => return Err(error),
                _ = tick.tick() => self.say(done, count, false),
                change = self.changes.next() => {
                    changed = Instant::now();
                    match change {
                        Some(Change::Applied(object)) => {
                            self.objects.insert(object.key(), object);
                        }
                        Some(Change::Deleted(object)) => {
                            self.objects.remove(&object.key());
                        }
                        Some(_) => {}
                        None => return Err("the watch ended".into()),
                    }
                }
            }
            if changed.elapsed() > PATIENCE {
                return Err(format!("nothing moves any more, {done} of {count} done").into());
            }
        }
    }

    /// On a terminal one line that changes, else a line now and then.
    fn say(&self, done: usize, count: usize, is_last: bool) {
        let groups = self
            .objects
            .values()
            .map(|one| one.status.available_replicas);
        let groups: usize = groups.sum();
        let seconds = self.begun.elapsed().as_secs();
        let line = format!("{seconds:>5} s  {done} of {count} done, {groups} groups available");
        let mut screen = std::io::stderr();
        // Whoever does not look misses nothing.
        let _ = if screen.is_terminal() {
            write!(screen, "\r{line}    {}", if is_last { "\n" } else { "" })
        } else if is_last || seconds.is_multiple_of(15) {
            writeln!(screen, "{line}")
        } else {
            Ok(())
        };
    }
}
