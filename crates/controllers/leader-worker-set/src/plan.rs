//! The order of decisions: whose the set is, what its `ModelServing` should be, what is reported.

use jiff::Timestamp;
use k8s_openapi::Resource;
use kthena_api::conditions;
use kthena_api::event::Event;
use kthena_api::model_serving::ModelServing;
use serde_json::{Value, json};

use crate::object::{LeaderWorkerSet, LeaderWorkerSetStatus};
use crate::owned;
use crate::status::{self, BLOCKED, Blocked, Report, UNSUPPORTED};
use crate::translate::{self, Translation};
use crate::unsupported::{self, Unsupported};
use crate::view::{SetView, Standing};

/// What to do about a `LeaderWorkerSet`: the write first, then the status, then the events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What happens to the `ModelServing`.
    pub write: Option<ServingWrite>,
    /// The status to store once the write has succeeded; `None` if it is stored already.
    pub status: Option<LeaderWorkerSetStatus>,
    /// What to tell users then.
    pub events: Vec<Event>,
}

/// One write of a `ModelServing`.
#[derive(Debug, Clone, PartialEq)]
pub enum ServingWrite {
    /// Create this object.
    Create(Value),
    /// Apply this JSON merge patch, which names the uid that is meant.
    Patch(Value),
    /// Delete it if it still has this uid.
    Delete {
        /// Which one is meant.
        uid: String,
    },
}

impl Plan {
    /// There is nothing to do.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

/// What must change for the set to be served.
pub fn plan(view: &SetView, now: Timestamp) -> Plan {
    if view.set.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    if let Some(rival) = &view.rival {
        return yield_to(view, rival);
    }
    let translation = translate::translate(&view.set);
    let mut unsupported = unsupported::find(&view.set, &translation);
    let mut plan = Plan::default();
    let blocked = blocked(view);
    let report = match (&view.serving, view.standing()) {
        (Some(serving), Standing::Ours) => {
            let is_current = maintain(view, serving, &translation, &mut unsupported, &mut plan);
            Report::Served {
                by: serving,
                is_current: is_current && has_caught_up(serving),
                blocked: None,
            }
        }
        (Some(serving), Standing::OursLeaving) => Report::Served {
            by: serving,
            is_current: false,
            blocked: None,
        },
        _ => blocked.as_ref().map_or(Report::Making, Report::Unserved),
    };
    if matches!(report, Report::Making) {
        create(view, &translation, &mut plan);
    }
    finish(view, report, &unsupported, now, &mut plan);
    plan
}

/// The status when the server refused the write that was planned, with its words; `None` if it is stored already.
pub fn refused(view: &SetView, message: &str, now: Timestamp) -> Option<LeaderWorkerSetStatus> {
    let translation = translate::translate(&view.set);
    let unsupported = unsupported::find(&view.set, &translation);
    let blocked = Blocked {
        reason: "ModelServingRefused",
        message: message.to_owned(),
    };
    let report = match (&view.serving, view.standing()) {
        (Some(serving), Standing::Ours) => Report::Served {
            by: serving,
            is_current: false,
            blocked: Some(&blocked),
        },
        _ => Report::Unserved(&blocked),
    };
    changed(view, status::compute(view, report, &unsupported, now))
}

/// The set is served by another controller. What was made here before anybody noticed goes again, unless requests
/// may be on their way to it.
fn yield_to(view: &SetView, rival: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(serving) = view.serving.as_ref() else {
        return plan;
    };
    if view.standing() != Standing::Ours {
        return plan;
    }
    let name = view.name();
    let is_serving = serving
        .status
        .as_ref()
        .is_some_and(|status| status.available_replicas > 0);
    let message = if is_serving {
        format!(
            "{rival} serves this set too, and ModelServing {name} is left as it is: delete one of them, and start \
             kthena with --controllers=-leaderworkerset if the other controller is to stay"
        )
    } else {
        let uid = serving.metadata.uid.clone().unwrap_or_default();
        plan.write = Some(ServingWrite::Delete { uid });
        format!("{rival} serves this set, so ModelServing {name} is deleted again")
    };
    let event = Event::warning("ServedElsewhere", message);
    plan.events.push(event);
    plan
}

/// Why there is no `ModelServing` to make or to maintain.
fn blocked(view: &SetView) -> Option<Blocked> {
    let name = view.name();
    match view.standing() {
        Standing::Foreign => Some(Blocked {
            reason: "NameConflict",
            message: format!(
                "ModelServing {name} exists and does not belong to this set: rename one of them, or delete it"
            ),
        }),
        Standing::LeftBehind => Some(Blocked {
            reason: "LeftBehind",
            message: format!(
                "ModelServing {name} belongs to an earlier set of this name and has yet to be collected: delete it if \
                 it stays"
            ),
        }),
        Standing::Absent | Standing::Ours | Standing::OursLeaving => None,
    }
}

fn create(view: &SetView, translation: &Translation, plan: &mut Plan) {
    let name = view.name();
    let metadata = &view.set.metadata;
    plan.write = Some(ServingWrite::Create(json!({
        "apiVersion": ModelServing::API_VERSION,
        "kind": ModelServing::KIND,
        "metadata": {
            "name": name,
            "namespace": metadata.namespace,
            "ownerReferences": [{
                "apiVersion": LeaderWorkerSet::API_VERSION,
                "kind": LeaderWorkerSet::KIND,
                "name": name,
                "uid": view.uid(),
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": translation.spec,
    })));
    let message = format!("created ModelServing {name}");
    let event = Event::normal("ModelServingCreated", message);
    plan.events.push(event);
}

/// Mends what differs. True if nothing does, or nothing can be done about it.
fn maintain(
    view: &SetView,
    serving: &ModelServing,
    translation: &Translation,
    unsupported: &mut Vec<Unsupported>,
    plan: &mut Plan,
) -> bool {
    let Some(drift) = owned::drift(translation, serving) else {
        return true;
    };
    if view.unmoved.is_some() && view.unmoved == serving.metadata.generation {
        unsupported.push(Unsupported::dropped_by_server());
        return true;
    }
    let patch = json!({ "metadata": { "uid": serving.metadata.uid }, "spec": drift.spec });
    plan.write = Some(ServingWrite::Patch(patch));
    let fields = drift.fields.join(", ");
    let message = format!("updated ModelServing {}: {fields}", view.name());
    let event = Event::normal("ModelServingUpdated", message);
    plan.events.push(event);
    false
}

/// The status of the `ModelServing` is about its newest spec.
fn has_caught_up(serving: &ModelServing) -> bool {
    let observed = serving
        .status
        .as_ref()
        .map(|status| status.observed_generation);
    observed >= serving.metadata.generation
}

/// The status, and events for what is news in it.
fn finish(
    view: &SetView,
    report: Report<'_>,
    unsupported: &[Unsupported],
    now: Timestamp,
    plan: &mut Plan,
) {
    let status = status::compute(view, report, unsupported, now);
    if let Report::Unserved(blocked) = report
        && blocked.reason == "NameConflict"
        && !is_told(view, BLOCKED, &blocked.message)
    {
        let message = blocked.message.clone();
        let event = Event::warning(blocked.reason, message);
        plan.events.push(event);
    }
    if !unsupported.is_empty() && !is_told(view, UNSUPPORTED, &status::message(unsupported)) {
        let each = unsupported
            .iter()
            .map(|one| Event::warning("UnsupportedField", one.to_string()));
        plan.events.extend(each);
    }
    plan.status = changed(view, status);
}

/// The stored condition says the same already.
fn is_told(view: &SetView, kind: &str, message: &str) -> bool {
    let conditions = view
        .set
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    conditions::says(conditions.unwrap_or_default(), kind, message)
}

fn changed(view: &SetView, status: LeaderWorkerSetStatus) -> Option<LeaderWorkerSetStatus> {
    (view.set.status.as_ref() != Some(&status)).then_some(status)
}

#[cfg(test)]
mod tests;
