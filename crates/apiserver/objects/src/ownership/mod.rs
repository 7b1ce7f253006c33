//! Who set which field: `metadata.managedFields`, and server-side apply on top of it.
//!
//! # Invariants
//!
//! - Applying the same configuration twice changes nothing the second time.
//! - A field goes when its only owner stops setting it; a field nobody owns stays.
//! - Metadata that the server writes (`name`, `uid`, …) is never owned.
//!
//! # Where to go next
//!
//! [`apply`] for server-side apply, [`track_update`] for all other writes; `set` for the sets of paths,
//! `shape` for how each place in an object is merged.

mod apply;
mod compare;
mod edit;
mod entries;
mod set;
mod shape;
#[cfg(test)]
mod tests;
mod update;

pub use apply::apply;
pub use update::track_update;

use jiff::Timestamp;
use kthena_schema::Schema;
use serde_json::Value;

use crate::resource::Resource;
use set::FieldSet;
use shape::{Origin, Shape};

/// Who writes fields.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The version the request is written in, for example `apps/v1`.
    pub api_version: &'a str,
    /// The subresource written to; empty for the main one.
    pub subresource: &'a str,
    /// Whether `status` is written through its own subresource only.
    pub separate_status: bool,
    /// Whether a CRD defines the resource.
    pub custom: bool,
    /// The present.
    pub now: Timestamp,
}

/// Whether an apply takes over fields of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflicts {
    /// Fields that others own with another value are an error.
    Refuse,
    /// They change hands.
    Force,
}

impl<'a> Writer<'a> {
    /// A writer of `resource`; `subresource` is empty for the main one.
    pub fn new(
        resource: &Resource,
        manager: &'a str,
        api_version: &'a str,
        subresource: &'a str,
        now: Timestamp,
    ) -> Self {
        Self {
            manager,
            api_version,
            subresource,
            separate_status: resource.status,
            custom: resource.custom,
            now,
        }
    }

    /// The shape of the objects written.
    fn root(self, schema: Option<&Schema>) -> Shape<'_> {
        Shape::Root(
            schema,
            if self.custom {
                Origin::Custom
            } else {
                Origin::Builtin
            },
        )
    }

    /// Fields this writer cannot own, whatever it sends.
    fn ignored(self, present: &Value) -> FieldSet {
        match self.subresource {
            "" if self.separate_status => FieldSet::of_members(&[&["status"]]),
            "status" => {
                let members = present
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.as_str());
                // Built-in kinds take labels and annotations with a status.
                let open = |name: &&str| *name != "status" && (self.custom || *name != "metadata");
                let others: Vec<[&str; 1]> = members.filter(open).map(|name| [name]).collect();
                let paths: Vec<&[&str]> = others.iter().map(<[&str; 1]>::as_slice).collect();
                FieldSet::of_members(&paths)
            }
            _ => FieldSet::default(),
        }
    }
}

/// Fields that belong to the server.
fn server_fields() -> FieldSet {
    FieldSet::of_members(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
        &["metadata", "deletionTimestamp"],
        &["metadata", "deletionGracePeriodSeconds"],
    ])
}

/// Gives entries of `new` whose fields did not change the times they have in `old`.
pub fn keep_times(old: &Value, new: &mut Value) {
    entries::keep_times(old, new);
}
