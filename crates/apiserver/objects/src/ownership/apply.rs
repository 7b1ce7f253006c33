//! Server-side apply.

use kthena_schema::Schema;
use serde_json::{Value, json};

use super::compare::{Comparison, fields_of, type_faults};
use super::edit::{merged, without};
use super::entries::{self, Entry, Operation};
use super::set::FieldSet;
use super::shape::Shape;
use super::update::{before_first_apply, disown};
use super::{Conflicts, Writer, server_fields};
use crate::error::{ApiError, FieldConflict};
use crate::meta;

/// The object after `writer` applied `configuration` to `live` (`None` creates it).
///
/// The result has its `managedFields` in place, so it is stored with no tracking of its own.
pub fn apply(
    schema: Option<&Schema>,
    live: Option<&Value>,
    configuration: &Value,
    writer: Writer<'_>,
    conflicts: Conflicts,
) -> Result<Value, ApiError> {
    if meta::of(configuration)
        .and_then(|meta| meta.get("managedFields"))
        .is_some_and(|list| !list.is_null())
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let shape = writer.root(schema);
    refuse_untyped(shape, configuration)?;
    // A version means nothing for an object that is not there yet.
    let mut configuration = configuration.clone();
    if live.is_none() {
        meta::set(&mut configuration, "resourceVersion", Value::Null);
    }
    let configuration = &configuration;
    let mut managed = live.map(entries::read).unwrap_or_default();
    let mut before = live.cloned().unwrap_or_else(|| json!({}));
    meta::set(&mut before, "managedFields", Value::Null);
    if managed.is_empty() && live.is_some() {
        managed.push(before_first_apply(shape, &before, writer));
    }

    let ignored = writer.ignored(configuration);
    let wanted = fields_of(shape, configuration)
        .recursive_difference(&ignored)
        .difference(&server_fields());
    let former = managed
        .iter()
        .position(|entry| entry.belongs_to(writer, Operation::Apply))
        .map(|at| managed.remove(at));
    let mut entry = Entry::new(writer, Operation::Apply, wanted);
    let mut after = merged(shape, Some(&before), configuration);
    if let Some(former) = &former {
        let owned = managed
            .iter()
            .fold(entry.fields.clone(), |all, other| all.union(&other.fields));
        let pruned = prune(shape, &after, &former.fields, &owned);
        // What the configuration leaves empty on purpose was emptied above; it comes back as written.
        after = merged(shape, Some(&pruned), configuration);
    }

    let comparison = Comparison::of(shape, &before, &after).without(&ignored);
    if conflicts == Conflicts::Refuse {
        refuse_conflicts(&managed, &comparison)?;
    }
    disown(&mut managed, &comparison, |_| false);
    if let Some(former) =
        former.filter(|former| former.fields == entry.fields && comparison == Comparison::default())
    {
        entry.time = former.time;
    }
    managed.push(entry);
    entries::write(&mut after, managed);
    Ok(after)
}

/// Removes what the writer owned and nobody owns any more.
fn prune(shape: Shape<'_>, merged: &Value, former: &FieldSet, owned: &FieldSet) -> Value {
    let former = former.with_declared(shape);
    let bare = json!({});
    let pruned = without(shape, merged, &former, None).unwrap_or_else(|| bare.clone());
    let everything = fields_of(shape, merged).with_declared(shape);
    // Items that others own, or this writer still does, come back with what holds them.
    let keep = fields_of(shape, &pruned)
        .with_declared(shape)
        .union(&owned.with_declared(shape));
    let pruned = without(shape, merged, &everything.difference(&keep), Some(owned))
        .unwrap_or_else(|| bare.clone());
    // So does whatever this writer never owned.
    let gone = everything.difference(&fields_of(shape, &pruned).with_declared(shape));
    without(shape, merged, &gone.intersection(&former), Some(owned)).unwrap_or(bare)
}

fn refuse_conflicts(managed: &[Entry], comparison: &Comparison) -> Result<(), ApiError> {
    let touched = comparison.touched();
    let mut causes = Vec::new();
    for entry in managed {
        for field in entry.fields.intersection(&touched).paths() {
            causes.push(FieldConflict {
                manager: entry.shown(),
                field,
            });
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    // By manager; the fields of each stay in their order.
    causes.sort_by(|left, right| left.manager.cmp(&right.manager));
    Err(ApiError::ApplyConflict { causes })
}

/// A field that the type does not have cannot be owned.
fn refuse_untyped(shape: Shape<'_>, configuration: &Value) -> Result<(), ApiError> {
    let faults = type_faults(shape, configuration);
    if faults.is_empty() {
        return Ok(());
    }
    let text = |member: &str| {
        configuration
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (group, version) = text("apiVersion")
        .split_once('/')
        .unwrap_or(("", text("apiVersion")));
    Err(ApiError::Untyped {
        object: format!(
            "{}/{}; {group}/{version}, Kind={}",
            meta::text(configuration, "namespace"),
            meta::text(configuration, "name"),
            text("kind")
        ),
        faults,
    })
}
