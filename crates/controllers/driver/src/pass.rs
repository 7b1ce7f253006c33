//! One turn for one `ModelServing`: view, plan, actions, status, events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kthena_api::model_serving::ModelServingStatus;
use kthena_cluster::ObjectKey;
use kthena_cluster::events::{Recorder, Severity};
use kthena_cluster::queue::WorkQueue;
use kthena_controllers_model_serving::{Memory, Moment, Plan, ServingView, plan};
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use crate::apply::Applier;
use crate::caches::Caches;
use crate::expect::Expectations;
use crate::metrics::{Metrics, WriteLabel};
use crate::pace::Pace;
use crate::publish;

/// How long to wait for a name that is occupied.
const CONFLICT: Duration = Duration::from_secs(1);

/// What outlives a turn.
#[derive(Debug, Default)]
struct Slot {
    uid: String,
    memory: Memory,
    expectations: Expectations,
    written: Option<Written>,
    /// When the status was last written.
    told_at: Option<Instant>,
}

/// A status that was written, for as long as the caches show the object as it was before.
#[derive(Debug)]
struct Written {
    before: Option<String>,
    status: ModelServingStatus,
}

/// Everything a turn needs; shared by the workers.
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) caches: Mutex<Caches>,
    slots: Mutex<HashMap<ObjectKey, Slot>>,
    pace: Mutex<Pace>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) parallel_writes: usize,
    /// What plans measure waiting from.
    began: Instant,
}

/// What to do with the key after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait for a change.
    Rest,
    /// Look again after this time.
    After(Duration),
    /// It failed: look again after its back-off.
    Retry,
}

impl Next {
    /// Tells the queue, which must have been given `key` back.
    pub(crate) fn schedule(self, queue: &WorkQueue<ObjectKey>, key: ObjectKey) {
        match self {
            Self::Rest => queue.forget(&key),
            Self::After(delay) => {
                queue.forget(&key);
                queue.add_after(key, delay);
            }
            Self::Retry => {
                queue.retry(key);
            }
        }
    }
}

impl Desk {
    pub(crate) fn new(
        client: Client,
        recorder: Recorder,
        metrics: Metrics,
        parallel_writes: usize,
    ) -> Self {
        Self {
            client,
            caches: Mutex::default(),
            slots: Mutex::default(),
            pace: Mutex::default(),
            recorder,
            metrics,
            parallel_writes,
            began: Instant::now(),
        }
    }

    pub(crate) fn caches(&self) -> MutexGuard<'_, Caches> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<ObjectKey, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self) -> Moment {
        Moment {
            wall: Timestamp::now(),
            steady: self.began.elapsed(),
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn. The queue sees to it that no two turns of one key overlap.
    pub(crate) async fn turn(&self, key: &ObjectKey) -> Next {
        let view = self.caches().view(key);
        let slot = self.slots().remove(key);
        let Some(mut view) = view else {
            self.pace().settled(key);
            return Next::Rest;
        };
        let uid = view.serving.metadata.uid.clone().unwrap_or_default();
        let mut slot = slot.filter(|slot| slot.uid == uid).unwrap_or_default();
        slot.uid = uid;
        let next = match slot.expectations.outstanding(&view, Instant::now()) {
            Some(patience) => Next::After(patience),
            None => self.carry_out(key, &mut view, &mut slot).await,
        };
        self.slots().insert(key.clone(), slot);
        next
    }

    async fn carry_out(&self, key: &ObjectKey, view: &mut ServingView, slot: &mut Slot) -> Next {
        slot.overlay(view);
        let mut plan = plan(view, &slot.memory, self.moment());
        if let Some(patience) = self.patience(key, slot, &plan) {
            plan.put_off(&slot.memory);
            let delay = plan
                .requeue_after
                .map_or(patience, |delay| delay.min(patience));
            plan.requeue_after = Some(delay);
        }
        slot.memory = std::mem::take(&mut plan.memory);
        if plan.is_idle() {
            return plan.requeue_after.map_or(Next::Rest, Next::After);
        }
        let applier = Applier {
            client: &self.client,
            namespace: &key.namespace,
            owner: &slot.uid,
            parallel: self.parallel_writes,
            metrics: &self.metrics,
        };
        let outcome = applier.run(plan.actions, &mut slot.expectations).await;
        let subject = publish::subject(&*view.serving, key);
        let has_failed = !outcome.failures.is_empty() || outcome.is_blocked;
        publish::tell(&self.recorder, &subject, &plan.events, has_failed);
        for failure in &outcome.failures {
            tracing::warn!(%key, %failure, "action failed");
            self.recorder.publish(
                &subject,
                Severity::Warning,
                failure.reason,
                &failure.to_string(),
            );
        }
        let status = if has_failed {
            plan.status_on_failure
        } else {
            plan.status
        };
        let is_written = match status {
            Some(status) => self.write_status(key, view, slot, status).await,
            None => true,
        };
        let is_conflict_only = outcome
            .failures
            .iter()
            .all(|failure| failure.reason == "NameConflict");
        if !is_written || !is_conflict_only {
            return Next::Retry;
        }
        if outcome.is_blocked {
            return Next::After(
                plan.requeue_after
                    .map_or(CONFLICT, |delay| delay.min(CONFLICT)),
            );
        }
        plan.requeue_after.map_or(Next::Rest, Next::After)
    }

    /// How long the plan has to wait because it only says that things are further along; `None` if not at all.
    fn patience(&self, key: &ObjectKey, slot: &Slot, plan: &Plan) -> Option<Duration> {
        let is_further = plan.status_can_wait && plan.status.is_some();
        let mut pace = self.pace();
        if is_further || !plan.actions.is_empty() {
            pace.moving(key);
        } else {
            pace.settled(key);
        }
        if !is_further {
            return None;
        }
        let told_at = slot.told_at.filter(|_| plan.actions.is_empty())?;
        pace.patience(Instant::now().saturating_duration_since(told_at))
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        view: &ServingView,
        slot: &mut Slot,
        status: ModelServingStatus,
    ) -> bool {
        match publish::write_status(&self.client, &view.serving, key, &status).await {
            Ok(stamp) => {
                self.metrics.wrote(WriteLabel::status);
                slot.told_at = Some(Instant::now());
                let before = view.serving.metadata.resource_version.clone();
                slot.written = stamp.map(|_| Written { before, status });
                true
            }
            Err(error) => {
                tracing::warn!(%key, %error, "status not written");
                false
            }
        }
    }

    /// The records of all `ModelServing`s as JSON, for people.
    pub(crate) fn dump(&self) -> Value {
        let mut dump = serde_json::Map::new();
        let caches = self.caches();
        let slots = self.slots();
        for key in caches.servings() {
            let Some(view) = caches.view(&key) else {
                continue;
            };
            let blank = Memory::default();
            let memory = slots.get(&key).map_or(&blank, |slot| &slot.memory);
            dump.insert(
                key.to_string(),
                kthena_controllers_model_serving::describe(&view, memory),
            );
        }
        Value::Object(dump)
    }
}

impl Slot {
    /// Puts the status that was written last into a view that is older than it.
    fn overlay(&mut self, view: &mut ServingView) {
        let Some(written) = &self.written else { return };
        if view.serving.metadata.resource_version == written.before {
            let mut serving = (*view.serving).clone();
            serving.status = Some(written.status.clone());
            view.serving = Arc::new(serving);
        } else {
            self.written = None;
        }
    }
}
