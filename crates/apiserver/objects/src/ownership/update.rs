//! Ownership after a write that is not an apply.

use kthena_schema::Schema;
use serde_json::{Value, json};

use super::compare::Comparison;
use super::entries::{self, Entry, Operation};
use super::set::FieldSet;
use super::shape::Shape;
use super::{Writer, server_fields};
use crate::meta;

/// Records in `new` which fields a create (`live` is `None`) or update set.
///
/// An object that was stored without a record stays without one until it is applied.
pub fn track_update(
    schema: Option<&Schema>,
    live: Option<&Value>,
    new: &mut Value,
    writer: Writer<'_>,
) {
    let mut managed = former_entries(live, new, writer);
    meta::set(new, "managedFields", Value::Null);
    if managed.is_empty() && live.is_some() {
        return;
    }
    let shape = writer.root(schema);
    let mut before = live.cloned().unwrap_or_else(|| json!({}));
    meta::set(&mut before, "managedFields", Value::Null);
    let ignored = writer.ignored(new);
    let comparison = Comparison::of(shape, &before, new).without(&ignored);
    disown(&mut managed, &comparison, |entry| {
        entry.belongs_to(writer, Operation::Update)
    });
    own(&mut managed, &comparison, &ignored, writer);
    entries::write(new, managed);
}

/// The entries to start from: the request's own, if it may and does bring some, else the stored ones.
fn former_entries(live: Option<&Value>, new: &Value, writer: Writer<'_>) -> Vec<Entry> {
    let stored = || live.map(entries::read).unwrap_or_default();
    if !writer.subresource.is_empty() {
        return stored();
    }
    if entries::is_reset(new) {
        return Vec::new();
    }
    let brought = entries::read(new);
    if brought.is_empty() {
        stored()
    } else {
        brought
    }
}

/// Takes changed and removed fields away from all entries but the writer's.
pub(super) fn disown(
    managed: &mut Vec<Entry>,
    comparison: &Comparison,
    is_writer: impl Fn(&Entry) -> bool,
) {
    let lost = comparison.touched().union(&comparison.removed);
    for entry in managed.iter_mut().filter(|entry| !is_writer(entry)) {
        entry.fields = entry.fields.difference(&lost);
    }
    managed.retain(|entry| is_writer(entry) || !entry.fields.is_empty());
}

fn own(managed: &mut Vec<Entry>, comparison: &Comparison, ignored: &FieldSet, writer: Writer<'_>) {
    let at = managed
        .iter()
        .position(|entry| entry.belongs_to(writer, Operation::Update));
    let former = at.map(|at| managed.remove(at));
    let held = former
        .as_ref()
        .map(|entry| entry.fields.clone())
        .unwrap_or_default();
    let fields = held
        .difference(&comparison.removed)
        .union(&comparison.touched())
        .recursive_difference(ignored)
        .difference(&server_fields());
    let mut entry = Entry::new(writer, Operation::Update, fields);
    if let Some(former) = former.filter(|former| former.fields == entry.fields) {
        entry.time = former.time;
    }
    managed.push(entry);
}

/// Everything in `object` as owned by one entry that precedes the first apply.
pub(super) fn before_first_apply(shape: Shape<'_>, object: &Value, writer: Writer<'_>) -> Entry {
    let added = Comparison::of(shape, &json!({}), object).added;
    let main = Writer {
        subresource: "",
        ..writer
    };
    let fields = added
        .recursive_difference(&main.ignored(object))
        .difference(&server_fields());
    let api_version = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or(writer.api_version);
    let writer = Writer {
        manager: "before-first-apply",
        api_version,
        subresource: "",
        ..writer
    };
    Entry::new(writer, Operation::Update, fields)
}
