//! One turn for one `LeaderWorkerSet`: view, plan, the write, status, events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::Resource;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::events::{Recorder, Severity};
use kthena_cluster::write::{self, Propagation};
use kthena_cluster::{ObjectKey, Target, WriteError};
use kthena_controllers_leader_worker_set::{
    LeaderWorkerSet, LeaderWorkerSetStatus, Plan, ServingWrite, SetView, plan, refused,
};
use serde_json::{Value, json};

use super::{Sets, rival};
use crate::metrics::WriteLabel;
use crate::pass::{Desk, Next};
use crate::publish;

/// How long to wait for the caches to show what the server says.
const LAG: Duration = Duration::from_secs(1);
/// How often to look whether another controller still serves a set.
const ELSEWHERE: Duration = Duration::from_mins(1);

/// Serves one set after the other.
pub(super) struct Clerk {
    sets: Arc<Sets>,
    desk: Arc<Desk>,
    recorder: Recorder,
    /// Patches that changed nothing, by set: its generation and that of the `ModelServing`.
    unmoved: HashMap<ObjectKey, (Option<i64>, Option<i64>)>,
}

/// What came of the write of a plan.
enum Written {
    /// It is as planned.
    Done,
    /// Nothing changed although something should have: the server drops it.
    Unmoved,
    /// The caches are behind the server; look again after this time, if no change comes first.
    Outdated(Option<Duration>),
    /// The server said no, and why.
    Refused {
        reason: &'static str,
        message: String,
    },
    /// Nobody knows.
    Failed,
}

impl Clerk {
    pub(super) fn new(sets: Arc<Sets>, desk: Arc<Desk>, recorder: Recorder) -> Self {
        Self {
            sets,
            desk,
            recorder,
            unmoved: HashMap::new(),
        }
    }

    /// One turn. A settled set costs no request.
    pub(super) async fn turn(&mut self, key: &ObjectKey) -> Next {
        let Some(set) = self.sets.get(key) else {
            self.unmoved.remove(key);
            return Next::Rest;
        };
        let generation = set.metadata.generation;
        self.unmoved
            .retain(|other, (judged, _)| other != key || *judged == generation);
        let unmoved = self.unmoved.get(key).and_then(|(_, serving)| *serving);
        let mut view = SetView {
            serving: self.desk.caches().serving(key),
            set,
            rival: None,
            unmoved,
        };
        let now = Timestamp::now();
        let mut planned = plan(&view, now);
        if planned.is_idle() {
            return Next::Rest;
        }
        let uid = view.set.metadata.uid.clone().unwrap_or_default();
        match rival::find(&self.desk.client, key, &uid).await {
            Ok(rival) => view.rival = rival,
            Err(error) => {
                tracing::warn!(%key, %error, "cannot tell whether another controller serves the set");
                return Next::Retry;
            }
        }
        if let Some(rival) = &view.rival {
            tracing::debug!(%key, rival, "another controller serves the set");
            planned = plan(&view, now);
        }
        let is_elsewhere = view.rival.is_some();
        match self.carry_out(key, &view, planned, now).await {
            Next::Rest if is_elsewhere => Next::After(ELSEWHERE),
            next => next,
        }
    }

    async fn carry_out(
        &mut self,
        key: &ObjectKey,
        view: &SetView,
        plan: Plan,
        now: Timestamp,
    ) -> Next {
        let written = match &plan.write {
            Some(write) => self.write(key, view, write).await,
            None => Written::Done,
        };
        let subject = publish::subject(&*view.set, key);
        match written {
            Written::Done => {}
            Written::Unmoved => {
                let serving = view.serving.as_ref();
                let serving = serving.and_then(|serving| serving.metadata.generation);
                let judged = (view.set.metadata.generation, serving);
                self.unmoved.insert(key.clone(), judged);
                return Next::After(Duration::ZERO);
            }
            Written::Outdated(delay) => return delay.map_or(Next::Rest, Next::After),
            Written::Refused { reason, message } => {
                tracing::warn!(%key, message, "write refused");
                self.recorder
                    .publish(&subject, Severity::Warning, reason, &message);
                self.write_status(key, view, refused(view, &message, now))
                    .await;
                return Next::Retry;
            }
            Written::Failed => return Next::Retry,
        }
        publish::tell(&self.recorder, &subject, &plan.events, false);
        self.write_status(key, view, plan.status).await
    }

    async fn write(&self, key: &ObjectKey, view: &SetView, write: &ServingWrite) -> Written {
        let target = Target::of::<ModelServing>();
        let client = &self.desk.client;
        let (outcome, reason) = match write {
            ServingWrite::Create(object) => match self.create(key, view, object).await {
                Ok(done) => return done,
                Err(error) => (error, "FailedCreate"),
            },
            ServingWrite::Patch(patch) => {
                match write::merge_patch(client, &target, key, None, patch).await {
                    Ok(stamp) => {
                        self.desk.metrics.wrote(WriteLabel::leader_worker_set);
                        let before = view.serving.as_ref();
                        let before =
                            before.and_then(|serving| serving.metadata.resource_version.as_deref());
                        return if before == Some(stamp.resource_version.as_str()) {
                            Written::Unmoved
                        } else {
                            Written::Done
                        };
                    }
                    Err(error) => (error, "FailedUpdate"),
                }
            }
            ServingWrite::Delete { uid } => {
                match write::delete(client, &target, key, uid, Propagation::Background).await {
                    Ok(()) => {
                        self.desk.metrics.wrote(WriteLabel::leader_worker_set);
                        return Written::Done;
                    }
                    Err(error) => (error, "FailedDelete"),
                }
            }
        };
        judge(key, outcome, reason)
    }

    /// Creates the `ModelServing` if the set is still there: a cache that is behind must not bring back what the
    /// garbage collector just took.
    async fn create(
        &self,
        key: &ObjectKey,
        view: &SetView,
        object: &Value,
    ) -> Result<Written, WriteError> {
        let client = &self.desk.client;
        let owner = view.set.metadata.uid.as_deref().unwrap_or_default();
        let there = write::stamp(client, &Target::of::<LeaderWorkerSet>(), key).await?;
        if there.is_none_or(|there| there.uid != owner || there.deletion_timestamp.is_some()) {
            return Ok(Written::Outdated(None));
        }
        let target = Target::of::<ModelServing>();
        match write::create(client, &target, Some(&key.namespace), object).await {
            Ok(_) => {
                self.desk.metrics.wrote(WriteLabel::leader_worker_set);
                Ok(Written::Done)
            }
            // Somebody else's, or ours from a moment ago: the caches will show.
            Err(WriteError::AlreadyExists) => Ok(Written::Outdated(Some(LAG))),
            Err(error) => Err(error),
        }
    }

    /// Replaces the stored status: the permissions of older installations allow an update and no patch.
    async fn write_status(
        &self,
        key: &ObjectKey,
        view: &SetView,
        status: Option<LeaderWorkerSetStatus>,
    ) -> Next {
        let Some(status) = status else {
            return Next::Rest;
        };
        let metadata = &view.set.metadata;
        let body = json!({
            "apiVersion": LeaderWorkerSet::API_VERSION,
            "kind": LeaderWorkerSet::KIND,
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
            "status": status,
        });
        let target = Target::of::<LeaderWorkerSet>();
        match write::replace(&self.desk.client, &target, key, Some("status"), &body).await {
            Ok(_) => {
                self.desk.metrics.wrote(WriteLabel::leader_worker_set);
                Next::Rest
            }
            Err(WriteError::NotFound) => Next::Rest,
            Err(WriteError::Conflict { .. }) => Next::After(LAG),
            Err(error) => {
                tracing::warn!(%key, %error, "status not written");
                Next::Retry
            }
        }
    }
}

/// What a failed write means for the turn.
fn judge(key: &ObjectKey, error: WriteError, reason: &'static str) -> Written {
    match error {
        WriteError::NotFound if reason != "FailedCreate" => Written::Outdated(None),
        WriteError::Conflict { .. } | WriteError::AlreadyExists => Written::Outdated(Some(LAG)),
        WriteError::Refused { message, .. } => Written::Refused { reason, message },
        error => {
            tracing::warn!(%key, %error, "write failed");
            Written::Failed
        }
    }
}
