//! The entries of `metadata.managedFields`.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Writer;
use super::set::FieldSet;
use crate::meta;

/// More entries of updates than this are folded together, oldest first.
const MAX_UPDATERS: usize = 10;
/// The manager that folded entries belong to.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own its fields. Apply sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// Server-side apply.
    Apply,
    /// Anything else.
    Update,
}

/// What one manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

impl Entry {
    /// An entry of `writer`, as of its `now`.
    pub(super) fn new(writer: Writer<'_>, operation: Operation, fields: FieldSet) -> Self {
        Self {
            manager: writer.manager.to_owned(),
            operation,
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: Some(meta::time_text(writer.now)),
            fields,
        }
    }

    /// True if `writer`'s operation continues this entry. An applier keeps one entry over all versions.
    pub(super) fn belongs_to(&self, writer: Writer<'_>, operation: Operation) -> bool {
        self.manager == writer.manager
            && self.operation == operation
            && self.subresource == writer.subresource
            && (operation == Operation::Apply || self.api_version == writer.api_version)
    }

    /// The manager as conflict messages name it.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, " with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            let _ = write!(text, " using {}", self.api_version);
        }
        text
    }

    fn from_value(value: &Value) -> Option<Self> {
        let text = |member: &str| {
            value
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: Some(text("time")).filter(|time| !time.is_empty()),
            fields: FieldSet::from_fields(value.get("fieldsV1")?),
        })
    }

    fn to_value(&self) -> Value {
        let mut value = json!({
            "manager": self.manager,
            "operation": match self.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            },
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_fields(),
        });
        if let Some(time) = &self.time {
            value["time"] = json!(time);
        }
        if !self.subresource.is_empty() {
            value["subresource"] = json!(self.subresource);
        }
        value
    }

    fn seconds(&self) -> i64 {
        let time = self
            .time
            .as_deref()
            .and_then(|time| time.parse::<Timestamp>().ok());
        time.map_or(0, Timestamp::as_second)
    }
}

/// The entries of `object`; none if one cannot be read.
pub(super) fn read(object: &Value) -> Vec<Entry> {
    let listed = meta::of(object).and_then(|meta| meta.get("managedFields")?.as_array());
    let entries: Option<Vec<Entry>> = listed
        .into_iter()
        .flatten()
        .map(Entry::from_value)
        .collect();
    entries.unwrap_or_default()
}

/// True if the object asks for its entries to be dropped: a list of one empty entry.
pub(super) fn is_reset(object: &Value) -> bool {
    let listed = meta::of(object).and_then(|meta| meta.get("managedFields")?.as_array());
    listed.is_some_and(|list| matches!(list.as_slice(), [Value::Object(only)] if only.is_empty()))
}

/// Puts `entries` into `object`, in order and without empty ones.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    fold_ancient(&mut entries);
    entries.sort_by(|left, right| {
        left.operation
            .cmp(&right.operation)
            .then_with(|| left.seconds().cmp(&right.seconds()))
            .then_with(|| left.manager.cmp(&right.manager))
            .then_with(|| left.api_version.cmp(&right.api_version))
            .then_with(|| left.subresource.cmp(&right.subresource))
    });
    let listed: Vec<Value> = entries.iter().map(Entry::to_value).collect();
    meta::set(
        object,
        "managedFields",
        if listed.is_empty() {
            Value::Null
        } else {
            Value::Array(listed)
        },
    );
}

fn fold_ancient(entries: &mut Vec<Entry>) {
    loop {
        let mut updates: Vec<usize> = (0..entries.len())
            .filter(|&at| {
                entries[at].operation == Operation::Update && entries[at].manager != ANCIENT
            })
            .collect();
        if updates.len() <= MAX_UPDATERS {
            return;
        }
        updates.sort_by_key(|&at| (entries[at].seconds(), entries[at].manager.clone()));
        let oldest = entries.remove(updates[0]);
        let bucket = entries
            .iter_mut()
            .find(|entry| entry.manager == ANCIENT && entry.api_version == oldest.api_version);
        match bucket {
            Some(bucket) => {
                bucket.fields = bucket.fields.union(&oldest.fields);
                bucket.time = bucket.time.take().max(oldest.time);
            }
            None => entries.push(Entry {
                manager: ANCIENT.to_owned(),
                subresource: String::new(),
                ..oldest
            }),
        }
    }
}

/// Gives entries of `new` that differ from one of `old` by their time only that entry's time.
pub(super) fn keep_times(old: &Value, new: &mut Value) {
    let former = read(old);
    let mut entries = read(new);
    if former.is_empty() || entries.is_empty() {
        return;
    }
    let mut touched = false;
    for entry in &mut entries {
        let twin = former.iter().find(|former| {
            let same_time = Entry {
                time: entry.time.clone(),
                ..(*former).clone()
            };
            same_time == *entry
        });
        if let Some(twin) = twin.filter(|twin| twin.time != entry.time) {
            entry.time.clone_from(&twin.time);
            touched = true;
        }
    }
    if touched {
        write(new, entries);
    }
}
