//! What is reported of a `LeaderWorkerSet`: the counts and conditions of its `ModelServing`, and what stands in the way.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kthena_api::conditions::{self, Wanted};
use kthena_api::labels::{LWS_NAME, LWS_WORKER_INDEX};
use kthena_api::model_serving::{ModelServing, ModelServingStatus};

use crate::object::LeaderWorkerSetStatus;
use crate::unsupported::Unsupported;
use crate::view::SetView;

/// Something is asked for that has no effect. Appears when it is true for the first time.
pub(crate) const UNSUPPORTED: &str = "UnsupportedFields";
/// The set cannot be served. Appears when it is true for the first time.
pub(crate) const BLOCKED: &str = "Blocked";

/// How far things are, in the set's own terms as in the `ModelServing`'s.
const PROGRESS: [&str; 3] = ["Available", "Progressing", "UpdateInProgress"];
/// What a `ModelServing` says besides, when there is reason to.
const ADDITIONS: [&str; 4] = ["Stalled", "Unschedulable", "PluginFailed", "Paused"];

/// Where the set stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Report<'a> {
    /// Its `ModelServing` is about to be made.
    Making,
    /// Its `ModelServing` is there.
    Served {
        by: &'a ModelServing,
        /// It is what the set asks for, and its status is about that.
        is_current: bool,
        /// Why it could not be made so.
        blocked: Option<&'a Blocked>,
    },
    /// It has none and gets none.
    Unserved(&'a Blocked),
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// One word for machines.
    pub(crate) reason: &'static str,
    /// For people: what, and what to do about it.
    pub(crate) message: String,
}

/// The status as it should be.
pub(crate) fn compute(
    view: &SetView,
    report: Report<'_>,
    unsupported: &[Unsupported],
    now: Timestamp,
) -> LeaderWorkerSetStatus {
    let stored = view.set.status.clone().unwrap_or_default();
    let mut writer = Writer {
        conditions: stored.conditions.unwrap_or_default(),
        generation: view.set.metadata.generation,
        now,
    };
    let counts = writer.report(view.name(), report);
    let blocked = match report {
        Report::Making => None,
        Report::Served { blocked, .. } => blocked,
        Report::Unserved(blocked) => Some(blocked),
    };
    let told = blocked.map(|blocked| (blocked.reason, blocked.message.as_str()));
    writer.add(BLOCKED, told, "NothingInTheWay");
    let message = message(unsupported);
    let told = (!unsupported.is_empty()).then_some(("FieldsIgnored", message.as_str()));
    writer.add(UNSUPPORTED, told, "AllFieldsServed");
    LeaderWorkerSetStatus {
        conditions: Some(writer.conditions),
        replicas: counts.replicas,
        ready_replicas: counts.available_replicas,
        updated_replicas: counts.updated_replicas,
        hpa_pod_selector: leaders(view.name()),
        other: stored.other,
    }
}

/// All of them in one line.
pub(crate) fn message(unsupported: &[Unsupported]) -> String {
    let each: Vec<_> = unsupported.iter().map(Unsupported::to_string).collect();
    each.join("; ")
}

/// Selects the leader of each group.
fn leaders(name: &str) -> String {
    format!("{LWS_NAME}={name},{LWS_WORKER_INDEX}=0")
}

/// Changes conditions; those of types that are not ours stay.
struct Writer {
    conditions: Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

impl Writer {
    /// How far things are. Answers with the counts.
    fn report(&mut self, name: &str, report: Report<'_>) -> ModelServingStatus {
        let making = format!("ModelServing {name} is being made");
        match report {
            Report::Served { by, is_current, .. } => {
                let status = by.status.clone().unwrap_or_default();
                match status.conditions.as_deref() {
                    None | Some([]) => self.progress("GroupsCreating", &making, true),
                    Some(told) => self.mirror(told, is_current),
                }
                return status;
            }
            Report::Making => self.progress("GroupsCreating", &making, true),
            Report::Unserved(blocked) => self.progress(blocked.reason, &blocked.message, false),
        }
        ModelServingStatus::default()
    }

    /// Nothing is known from a `ModelServing`.
    fn progress(&mut self, reason: &str, message: &str, is_progressing: bool) {
        self.conditions
            .retain(|condition| !ADDITIONS.contains(&condition.type_.as_str()));
        for kind in PROGRESS {
            let holds = is_progressing && kind == "Progressing";
            self.set(kind, holds, reason, message);
        }
    }

    /// Repeats what a `ModelServing` says of itself.
    fn mirror(&mut self, told: &[Condition], is_current: bool) {
        let is_told = |kind: &str| conditions::find(told, kind).is_some();
        let is_ours = |kind: &str| PROGRESS.contains(&kind) || ADDITIONS.contains(&kind);
        self.conditions
            .retain(|condition| !is_ours(&condition.type_) || is_told(&condition.type_));
        for condition in told.iter().filter(|condition| is_ours(&condition.type_)) {
            let before = conditions::find(&self.conditions, &condition.type_);
            let before = before.and_then(|condition| condition.observed_generation);
            let generation = if is_current { self.generation } else { before };
            let wanted = Wanted {
                kind: &condition.type_,
                holds: condition.status == "True",
                reason: &condition.reason,
                message: &condition.message,
                observed_generation: generation,
            };
            let since = condition.last_transition_time.0;
            conditions::set(&mut self.conditions, &wanted, since);
        }
    }

    /// A condition that appears when it is true for the first time.
    fn add(&mut self, kind: &str, told: Option<(&str, &str)>, otherwise: &str) {
        match told {
            Some((reason, message)) => self.set(kind, true, reason, message),
            None if conditions::find(&self.conditions, kind).is_some() => {
                self.set(kind, false, otherwise, "");
            }
            None => {}
        }
    }

    fn set(&mut self, kind: &str, holds: bool, reason: &str, message: &str) {
        let wanted = Wanted {
            kind,
            holds,
            reason,
            message,
            observed_generation: self.generation,
        };
        conditions::set(&mut self.conditions, &wanted, self.now);
    }
}

#[cfg(test)]
mod tests;
