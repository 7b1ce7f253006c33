//! Deletes: at once, after a grace period, or once finalizers let go.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Delete, FOREGROUND, ORPHAN, Outcome, Planned};
use crate::error::ApiError;
use crate::meta;
use crate::object::Object;
use crate::resource::{GroupResource, Removal, Resource};
use crate::store::Store;

/// What becomes of dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// They stay and lose the owner reference, before the owner goes.
    Orphan,
    /// They go after the owner.
    Background,
    /// They go before the owner.
    Foreground,
}

/// How to delete, from body and query of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds a pod gets to stop; `None` is the pod's own setting.
    pub grace_period_seconds: Option<i64>,
    /// Only if the object has this uid.
    pub uid: Option<String>,
    /// Only if the object has this version.
    pub resource_version: Option<String>,
    /// What becomes of dependents; `None` is what the object's finalizers say, else background.
    pub propagation: Option<Propagation>,
    /// Whether nothing shall be changed.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Reads a `DeleteOptions` object.
    pub fn from_value(value: &Value) -> Result<Self, ApiError> {
        let text = |path: &[&str]| {
            meta::at(value, path)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let orphan = value.get("orphanDependents").and_then(Value::as_bool);
        let policy = text(&["propagationPolicy"]);
        if orphan.is_some() && policy.is_some() {
            return Err(ApiError::bad_request(
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        let propagation = match (orphan, policy.as_deref()) {
            (Some(true), _) => Some(Propagation::Orphan),
            (Some(false), _) => Some(Propagation::Background),
            (None, Some(policy)) => Some(Propagation::parse(policy)?),
            (None, None) => None,
        };
        Ok(Self {
            grace_period_seconds: value.get("gracePeriodSeconds").and_then(Value::as_i64),
            uid: text(&["preconditions", "uid"]),
            resource_version: text(&["preconditions", "resourceVersion"]),
            propagation,
            dry_run: value
                .get("dryRun")
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty()),
        })
    }
}

impl Propagation {
    /// Reads a `propagationPolicy`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "Orphan" => Ok(Self::Orphan),
            "Background" => Ok(Self::Background),
            "Foreground" => Ok(Self::Foreground),
            other => Err(ApiError::Invalid {
                group: "meta.k8s.io".to_owned(),
                kind: "DeleteOptions".to_owned(),
                name: String::new(),
                faults: vec![kthena_schema::Fault::not_supported(
                    kthena_schema::FieldPath::new("propagationPolicy"),
                    other,
                    &["Foreground", "Background", "Orphan", "nil"],
                )],
            }),
        }
    }
}

/// Whether a node is given time to stop the object.
enum Grace {
    /// The kind has no grace period.
    NotApplicable,
    /// A deletion with at most this grace is already under way.
    Pending,
    /// The object goes at this time, after this many seconds.
    Until(Timestamp, i64),
}

impl Store {
    /// Plans to delete an object, or to mark it as being deleted.
    pub fn plan_delete(
        &self,
        resource: &Resource,
        delete: &Delete<'_>,
    ) -> Result<Planned, ApiError> {
        let stored = self.fetch(&resource.group_resource, delete.namespace, delete.name)?;
        check_preconditions(resource, stored, &delete.options)?;
        let old = stored.value();
        if resource.removal == Removal::NamespaceFinalizers {
            return self.plan_namespace_delete(resource, stored, &old, delete);
        }
        let grace = match resource.removal {
            Removal::PodGrace => pod_grace(&old, delete),
            Removal::NamespaceFinalizers | Removal::Immediate => Grace::NotApplicable,
        };
        if let Grace::Pending = grace {
            return Ok(Planned {
                outcome: Outcome::Deleting,
                ..Planned::unchanged(stored)
            });
        }
        let mut new = old.clone();
        let finalizers = finalizers_for(&old, delete.options.propagation);
        meta::set_finalizers(&mut new, &finalizers);
        let held = !finalizers.is_empty();
        let waits = match grace {
            Grace::Until(time, seconds) => {
                mark(&mut new, time, seconds);
                seconds > 0
            }
            Grace::NotApplicable | Grace::Pending => {
                if held && !meta::is_deleting(&new) {
                    mark(&mut new, delete.now, 0);
                }
                false
            }
        };
        if !held && !waits {
            return self.plan_put(resource, new, Some(stored), Outcome::Deleted);
        }
        if new == old {
            return Ok(Planned {
                outcome: Outcome::Deleting,
                ..Planned::unchanged(stored)
            });
        }
        self.plan_put(resource, new, Some(stored), Outcome::Deleting)
    }

    /// A namespace terminates first; it goes when its contents have gone and its finalizers are empty.
    fn plan_namespace_delete(
        &self,
        resource: &Resource,
        stored: &Arc<Object>,
        old: &Value,
        delete: &Delete<'_>,
    ) -> Result<Planned, ApiError> {
        let held_by_spec = meta::at(old, &["spec", "finalizers"])
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
        let mut new = old.clone();
        let finalizers = finalizers_for(old, delete.options.propagation);
        meta::set_finalizers(&mut new, &finalizers);
        if !meta::is_deleting(old) {
            meta::set(
                &mut new,
                "deletionTimestamp",
                json!(meta::time_text(delete.now)),
            );
            new["status"]["phase"] = json!("Terminating");
        }
        if !held_by_spec && finalizers.is_empty() {
            return self.plan_put(resource, new, Some(stored), Outcome::Deleted);
        }
        if new == *old {
            return Ok(Planned {
                outcome: Outcome::Deleting,
                ..Planned::unchanged(stored)
            });
        }
        self.plan_put(resource, new, Some(stored), Outcome::Deleting)
    }
}

/// Sets the end of the object; the first time counts as a change of what is wanted.
fn mark(object: &mut Value, time: Timestamp, seconds: i64) {
    if !meta::is_deleting(object)
        && let Some(generation) =
            meta::integer(object, "generation").filter(|generation| *generation > 0)
    {
        meta::set(object, "generation", json!(generation + 1));
    }
    meta::set(object, "deletionTimestamp", json!(meta::time_text(time)));
    meta::set(object, "deletionGracePeriodSeconds", json!(seconds));
}

fn check_preconditions(
    resource: &Resource,
    stored: &Object,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    // The API server names the kind here, not the resource.
    let named = GroupResource::new(resource.group(), &resource.kind);
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != stored.uid()) {
        let message = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object \
             might have been deleted and then recreated",
            stored.uid()
        );
        return Err(ApiError::conflict(&named, stored.name(), message));
    }
    let current = stored.version().to_string();
    if let Some(version) = options
        .resource_version
        .as_ref()
        .filter(|version| **version != current)
    {
        let message = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in \
             record ({current}). The object might have been modified"
        );
        return Err(ApiError::conflict(&named, stored.name(), message));
    }
    Ok(())
}

fn pod_grace(pod: &Value, delete: &Delete<'_>) -> Grace {
    // A negative period means one second.
    let floor = |seconds: i64| if seconds < 0 { 1 } else { seconds };
    let asked = delete.options.grace_period_seconds.map(floor);
    if meta::is_deleting(pod) {
        let Some(granted) = meta::integer(pod, "deletionGracePeriodSeconds").map(floor) else {
            return Grace::NotApplicable;
        };
        // A grace period may only be shortened.
        let Some(seconds) = asked.filter(|seconds| *seconds < granted) else {
            return Grace::Pending;
        };
        let end = meta::text(pod, "deletionTimestamp")
            .parse::<Timestamp>()
            .unwrap_or(delete.now);
        let start = end
            .saturating_sub(SignedDuration::from_secs(granted))
            .unwrap_or(end);
        return Grace::Until(later(start, seconds), seconds);
    }
    let own = meta::at(pod, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    let unbound = meta::at(pod, &["spec", "nodeName"])
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty();
    let phase = meta::at(pod, &["status", "phase"])
        .and_then(Value::as_str)
        .unwrap_or_default();
    let finished = matches!(phase, "Succeeded" | "Failed");
    let seconds = if unbound || finished {
        0
    } else {
        asked.or(own).map_or(0, floor)
    };
    Grace::Until(later(delete.now, seconds), seconds)
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(time)
}

/// The finalizers after the propagation policy had its say.
fn finalizers_for(object: &Value, propagation: Option<Propagation>) -> Vec<String> {
    let present = meta::finalizers(object);
    let has = |finalizer: &str| present.contains(&finalizer);
    let (orphan, foreground) = match propagation {
        Some(Propagation::Orphan) => (true, false),
        Some(Propagation::Foreground) => (false, true),
        Some(Propagation::Background) => (false, false),
        None => (has(ORPHAN), has(FOREGROUND)),
    };
    let others = present
        .iter()
        .filter(|held| **held != ORPHAN && **held != FOREGROUND);
    let mut finalizers: Vec<String> = others.map(|held| (*held).to_owned()).collect();
    if orphan {
        finalizers.push(ORPHAN.to_owned());
    }
    if foreground {
        finalizers.push(FOREGROUND.to_owned());
    }
    finalizers
}
