//! Carries out the actions of a plan.
//!
//! Deletions name the uid that is meant. What is gone already is a success. Creations go out a few at a time in
//! the order of the plan; after a failure nothing more is created, but everything is deleted that should be.

use futures::future::join_all;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Pod, Service};
use kthena_cluster::write::{self, Propagation};
use kthena_cluster::{ObjectKey, Target, WriteError};
use kthena_controllers_model_serving::Action;
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use crate::expect::{Expectations, Kind};
use crate::metrics::Metrics;

/// Where the actions go.
pub(crate) struct Applier<'a> {
    pub(crate) client: &'a Client,
    pub(crate) namespace: &'a str,
    /// Uid of the `ModelServing`.
    pub(crate) owner: &'a str,
    pub(crate) parallel: usize,
    pub(crate) metrics: &'a Metrics,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What failed, in the order of the actions.
    pub(crate) failures: Vec<Failure>,
    /// A name is occupied for now; look again in a moment.
    pub(crate) is_blocked: bool,
}

impl Outcome {
    /// Nothing failed and nothing is in the way.
    fn is_clean(&self) -> bool {
        self.failures.is_empty() && !self.is_blocked
    }
}

/// An action that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub(crate) struct Failure {
    what: String,
    /// Reason of the event.
    pub(crate) reason: &'static str,
    #[source]
    source: WriteError,
}

/// Where Volcano's `PodGroup`s are.
pub(crate) fn pod_groups() -> Target {
    Target {
        api_version: "scheduling.volcano.sh/v1beta1".to_owned(),
        kind: "PodGroup".to_owned(),
        plural: "podgroups".to_owned(),
    }
}

/// What came of one action.
enum Done {
    Created(String),
    Deleted(String),
    Patched,
    /// There was nothing to do any more.
    Nothing,
    /// The name is somebody else's, or the caches do not show ours yet.
    Blocked {
        by_stranger: Option<String>,
    },
}

/// What kind of object an action is about.
fn kind(action: &Action) -> Kind {
    match action {
        Action::CreateSnapshot { .. }
        | Action::PatchSnapshot { .. }
        | Action::DeleteSnapshot { .. } => Kind::Snapshot,
        Action::CreatePodGroup { .. }
        | Action::PatchPodGroup { .. }
        | Action::DeletePodGroup { .. } => Kind::PodGroup,
        Action::CreateService { .. } | Action::DeleteService { .. } => Kind::Service,
        Action::CreatePod { .. } | Action::DeletePod { .. } => Kind::Pod,
    }
}

impl Applier<'_> {
    pub(crate) async fn run(
        &self,
        actions: Vec<Action>,
        expectations: &mut Expectations,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let (creations, others): (Vec<_>, Vec<_>) = actions.into_iter().partition(|action| {
            matches!(
                action,
                Action::CreatePod { .. } | Action::CreateService { .. }
            )
        });
        // The snapshot comes first and alone: without it, nothing may be created. So it is with gangs.
        let (snapshots, others): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|action| matches!(action, Action::CreateSnapshot { .. }));
        let (gangs, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|action| {
            matches!(
                action,
                Action::CreatePodGroup { .. } | Action::PatchPodGroup { .. }
            )
        });
        self.batch(snapshots, expectations, &mut outcome).await;
        if outcome.is_clean() {
            self.batches(gangs, expectations, &mut outcome).await;
        }
        let may_create = outcome.is_clean();
        self.batches(others, expectations, &mut outcome).await;
        let failed_before = outcome.failures.len();
        let mut creations = if may_create { creations } else { Vec::new() };
        while !creations.is_empty() && outcome.failures.len() == failed_before {
            let rest = creations.split_off(self.parallel.min(creations.len()));
            self.batch(
                std::mem::replace(&mut creations, rest),
                expectations,
                &mut outcome,
            )
            .await;
        }
        outcome
    }

    async fn batches(
        &self,
        mut actions: Vec<Action>,
        expectations: &mut Expectations,
        outcome: &mut Outcome,
    ) {
        while !actions.is_empty() {
            let rest = actions.split_off(self.parallel.min(actions.len()));
            self.batch(std::mem::replace(&mut actions, rest), expectations, outcome)
                .await;
        }
    }

    async fn batch(
        &self,
        actions: Vec<Action>,
        expectations: &mut Expectations,
        outcome: &mut Outcome,
    ) {
        let kinds: Vec<_> = actions.iter().map(kind).collect();
        let results = join_all(actions.into_iter().map(|action| self.one(action))).await;
        let now = Instant::now();
        for (kind, result) in kinds.into_iter().zip(results) {
            if let Ok(Done::Created(_) | Done::Deleted(_) | Done::Patched) = result {
                self.metrics.wrote(kind.label());
            }
            match result {
                Ok(Done::Created(name)) => expectations.created(kind, &name, now),
                Ok(Done::Deleted(uid)) => expectations.deleted(&uid, now),
                Ok(Done::Patched | Done::Nothing) => {}
                Ok(Done::Blocked { by_stranger }) => {
                    outcome.is_blocked = true;
                    if let Some(what) = by_stranger {
                        let source = WriteError::AlreadyExists;
                        outcome.failures.push(Failure {
                            what,
                            reason: "NameConflict",
                            source,
                        });
                    }
                }
                Err(failure) => outcome.failures.push(failure),
            }
        }
    }

    async fn one(&self, action: Action) -> Result<Done, Failure> {
        match action {
            Action::CreateSnapshot { name, object } => {
                let revision = object["metadata"]["labels"][kthena_api::labels::REVISION].as_str();
                let what = format!(
                    "failed to create ControllerRevision for new revision {}",
                    revision.unwrap_or_default()
                );
                let target = Target::of::<ControllerRevision>();
                self.create(&target, name, &object, what).await
            }
            Action::CreateService { name, object } => {
                let what = format!("failed to create service {name}");
                self.create(&Target::of::<Service>(), name, &object, what)
                    .await
            }
            Action::CreatePod { name, object } => {
                let what = format!("failed to create pod {name}");
                self.create(&Target::of::<Pod>(), name, &object, what).await
            }
            Action::CreatePodGroup { name, object } => {
                let what = format!("failed to create PodGroup {name}");
                self.create(&pod_groups(), name, &object, what).await
            }
            Action::PatchPodGroup { name, patch } => self.patch(&pod_groups(), &name, &patch).await,
            Action::DeletePodGroup { name, uid } => self.delete(&pod_groups(), name, uid).await,
            Action::PatchSnapshot { name, patch } => {
                self.patch(&Target::of::<ControllerRevision>(), &name, &patch)
                    .await
            }
            Action::DeletePod { name, uid } => self.delete(&Target::of::<Pod>(), name, uid).await,
            Action::DeleteService { name, uid } => {
                self.delete(&Target::of::<Service>(), name, uid).await
            }
            Action::DeleteSnapshot { name, uid } => {
                // A snapshot too many does no harm and is tried again on the next pass.
                self.delete(&Target::of::<ControllerRevision>(), name, uid)
                    .await
                    .or_else(|failure| {
                        tracing::warn!(%failure, "outdated snapshot stays for now");
                        Ok(Done::Nothing)
                    })
            }
        }
    }

    async fn patch(&self, target: &Target, name: &str, patch: &Value) -> Result<Done, Failure> {
        let key = ObjectKey::new(self.namespace, name);
        // The permissions of older installations allow updates of these kinds and no patches.
        match write::update(self.client, target, &key, patch).await {
            Ok(_) => Ok(Done::Patched),
            Err(WriteError::NotFound) => Ok(Done::Nothing),
            Err(source) => Err(Failure {
                what: format!("failed to update {} {name}", target.kind),
                reason: "FailedUpdate",
                source,
            }),
        }
    }

    async fn create(
        &self,
        target: &Target,
        name: String,
        object: &Value,
        what: String,
    ) -> Result<Done, Failure> {
        let failed = |source| Failure {
            what: what.clone(),
            reason: "FailedCreate",
            source,
        };
        match write::create(self.client, target, Some(self.namespace), object).await {
            Ok(_) => Ok(Done::Created(name)),
            Err(WriteError::AlreadyExists) => {
                let key = ObjectKey::new(self.namespace, name);
                let there = write::stamp(self.client, target, &key)
                    .await
                    .map_err(failed)?;
                let stranger = there.filter(|there| there.controller() != self.owner);
                Ok(Done::Blocked {
                    by_stranger: stranger.map(|_| format!("{} {}", target.kind, key.name)),
                })
            }
            Err(source) => Err(failed(source)),
        }
    }

    async fn delete(&self, target: &Target, name: String, uid: String) -> Result<Done, Failure> {
        let key = ObjectKey::new(self.namespace, &*name);
        match write::delete(self.client, target, &key, &uid, Propagation::Background).await {
            Ok(()) => Ok(Done::Deleted(uid)),
            // Gone, or replaced by one that was not meant.
            Err(WriteError::NotFound | WriteError::Conflict { .. }) => Ok(Done::Nothing),
            Err(source) => {
                let what = format!("failed to delete {} {name}", target.kind);
                Err(Failure {
                    what,
                    reason: "FailedDelete",
                    source,
                })
            }
        }
    }
}
