//! The rules of a write, and what it would change.
//!
//! A plan is computed from the store as it is and has no effect by itself. It holds the [`Change`]s
//! with their versions, to be made durable and then passed to [`Store::commit`], before any other plan
//! is made. A dry run simply drops the plan.
//!
//! The caller's schema defaults, validation and admission run inside a plan, as [`Admit`]: after what
//! the client may not set was reset, before metadata is checked and the generation counted.
//!
//! # Where to go next
//!
//! `create`, `update` and `delete` hold one verb each; `strategy` what clients may not set.

mod create;
mod delete;
mod names;
mod strategy;
#[cfg(test)]
mod tests;
mod update;

use std::sync::Arc;

use jiff::Timestamp;
use kthena_schema::Schema;
use serde_json::Value;

pub use delete::{DeleteOptions, Propagation};

use crate::error::ApiError;
use crate::meta;
use crate::object::Object;
use crate::ownership::{self, Writer};
use crate::resource::{GroupResource, Resource};
use crate::store::Store;

/// The finalizer of a foreground deletion.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of a deletion that leaves dependents behind.
pub const ORPHAN: &str = "orphan";

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It has a new state.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// The object's resource.
    pub resource: GroupResource,
    /// What happened.
    pub kind: ChangeKind,
    /// The state after it; for `Deleted` the last state, with the version of the deletion.
    pub object: Arc<Object>,
    /// The state before it.
    pub previous: Option<Arc<Object>>,
    /// The version of the change.
    pub version: u64,
}

/// How a write came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The object was made.
    Created,
    /// The object has a new state.
    Updated,
    /// The object already was as asked for; there is no change.
    Unchanged,
    /// The object is gone.
    Deleted,
    /// The object is marked as being deleted and waits for its node, finalizers or contents.
    Deleting,
}

/// What a write would do.
#[derive(Debug, Clone)]
pub struct Planned {
    /// How it came out.
    pub outcome: Outcome,
    /// The object to answer with.
    pub object: Arc<Object>,
    /// The changes in order; empty if nothing changes.
    pub changes: Vec<Change>,
}

/// An object before and after a write, for defaults, validation and admission.
#[derive(Debug)]
pub struct Review<'a> {
    /// The stored object; `None` for a create.
    pub old: Option<&'a Value>,
    /// The object to be stored; may be changed.
    pub new: &'a mut Value,
}

/// Fills defaults into an object and refuses it if it breaks a rule.
pub type Admit<'a> = &'a mut dyn FnMut(Review<'_>) -> Result<(), ApiError>;

/// An [`Admit`] that takes everything.
pub fn admit_all(_: Review<'_>) -> Result<(), ApiError> {
    Ok(())
}

/// Who writes, when, and whatever else the store may not draw itself.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The present.
    pub now: Timestamp,
    /// The uid of a new object.
    pub uid: &'a str,
    /// Seeds the name drawn for `generateName`.
    pub seed: u64,
    /// Records who set which field; `None` leaves `metadata.managedFields` as they are in the object.
    pub tracking: Option<Tracking<'a>>,
}

/// Records field ownership of an update (not of an apply, which brings its own record).
#[derive(Debug, Clone, Copy)]
pub struct Tracking<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The version the request is written in, for example `apps/v1`.
    pub api_version: &'a str,
    /// The object's schema, if known.
    pub schema: Option<&'a Schema>,
}

/// A create.
pub struct Create<'a> {
    /// The namespace of the request; empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// The object as decoded.
    pub object: Value,
    /// Who writes.
    pub author: Author<'a>,
    /// Defaults, validation, admission.
    pub admit: Admit<'a>,
}

/// Which part of the object a request may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Everything but the status, if that is a subresource.
    Main,
    /// The status.
    Status,
    /// Everything, on behalf of the named subresource (`scale`, `binding`, `finalize`).
    Whole(&'a str),
}

/// An update, or the result of a patch.
pub struct Update<'a> {
    /// The namespace of the request; empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// The name in the request's path.
    pub name: &'a str,
    /// Which part may change.
    pub part: Part<'a>,
    /// The whole object as it shall be.
    pub object: Value,
    /// Who writes.
    pub author: Author<'a>,
    /// Defaults, validation, admission.
    pub admit: Admit<'a>,
}

/// A delete.
#[derive(Debug, Clone)]
pub struct Delete<'a> {
    /// The namespace of the request; empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// The name in the request's path.
    pub name: &'a str,
    /// How to delete.
    pub options: DeleteOptions,
    /// The present.
    pub now: Timestamp,
}

impl Author<'_> {
    /// The server itself: makes nothing new and leaves no trace in managed fields.
    pub fn server(now: Timestamp) -> Self {
        Self {
            now,
            uid: "",
            seed: 0,
            tracking: None,
        }
    }

    fn track(&self, resource: &Resource, live: Option<&Value>, new: &mut Value, part: Part<'_>) {
        if let Some(tracking) = self.tracking {
            let writer = Writer::new(
                resource,
                tracking.manager,
                tracking.api_version,
                part.subresource(),
                self.now,
            );
            ownership::track_update(tracking.schema, live, new, writer);
        }
    }
}

impl<'a> Part<'a> {
    /// True for the object itself rather than a subresource.
    pub fn is_main(self) -> bool {
        self == Self::Main
    }

    /// The subresource's name; empty for the main one.
    pub fn subresource(self) -> &'a str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Whole(name) => name,
        }
    }
}

impl Planned {
    fn one(outcome: Outcome, change: Change) -> Self {
        Self {
            outcome,
            object: change.object.clone(),
            changes: vec![change],
        }
    }

    fn unchanged(object: &Arc<Object>) -> Self {
        Self {
            outcome: Outcome::Unchanged,
            object: object.clone(),
            changes: Vec::new(),
        }
    }
}

impl Store {
    /// Plans to store `value` as the next version.
    fn plan_put(
        &self,
        resource: &Resource,
        mut value: Value,
        previous: Option<&Arc<Object>>,
        outcome: Outcome,
    ) -> Result<Planned, ApiError> {
        let version = self.version() + 1;
        meta::set(
            &mut value,
            "resourceVersion",
            Value::String(version.to_string()),
        );
        let kind = match (previous, outcome) {
            (None, _) => ChangeKind::Added,
            (Some(_), Outcome::Deleted) => ChangeKind::Deleted,
            (Some(_), _) => ChangeKind::Modified,
        };
        let object = Arc::new(Object::from_value(resource, &value)?);
        let change = Change {
            resource: resource.group_resource.clone(),
            kind,
            object,
            previous: previous.cloned(),
            version,
        };
        Ok(Planned::one(outcome, change))
    }
}
