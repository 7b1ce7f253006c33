//! One stored version of an object: its bytes, and what the store looks at without reading them.
//!
//! Bytes take about a quarter of the memory of a JSON tree and go into a list or watch answer as they
//! are. Whatever is needed often (labels, selectable fields, owners) lies beside them, taken from the
//! same tree at the same moment.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::error::ApiError;
use crate::meta;
use crate::resource::{Resource, SelectableField};

/// Where an object lives within its resource. Orders by namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

/// One entry of `metadata.ownerReferences`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRef {
    /// The owner's uid.
    pub uid: Box<str>,
    /// The owner's name.
    pub name: Box<str>,
    /// The owner's kind.
    pub kind: Box<str>,
    /// The owner's API version.
    pub api_version: Box<str>,
    /// Whether a foreground deletion of the owner waits for this object.
    pub blocks_owner: bool,
    /// Whether the owner is the managing controller.
    pub is_controller: bool,
}

/// A stored version of an object. Never changes; an update makes a new one.
#[derive(Debug, Clone)]
pub struct Object {
    key: ObjectKey,
    version: u64,
    uid: Box<str>,
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[Box<str>]>,
    owners: Box<[OwnerRef]>,
    finalizers: Box<[Box<str>]>,
    deleting: bool,
    bytes: Bytes,
}

impl ObjectKey {
    /// `namespace` is empty for cluster-scoped objects.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl Object {
    /// Takes over an object as restored from disk.
    pub fn from_bytes(resource: &Resource, bytes: Bytes) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::internal(format!("stored object cannot be read: {error}"))
        })?;
        Ok(Self::assemble(resource, &value, bytes))
    }

    /// Serializes `value`, whose metadata is complete.
    pub fn from_value(resource: &Resource, value: &Value) -> Result<Self, ApiError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| ApiError::internal(format!("object cannot be written: {error}")))?;
        Ok(Self::assemble(resource, value, bytes.into()))
    }

    fn assemble(resource: &Resource, value: &Value, bytes: Bytes) -> Self {
        Self {
            key: ObjectKey::new(meta::text(value, "namespace"), meta::text(value, "name")),
            version: meta::text(value, "resourceVersion")
                .parse()
                .unwrap_or_default(),
            uid: meta::text(value, "uid").into(),
            labels: labels_of(value),
            fields: resource
                .fields
                .iter()
                .map(|field| field_of(value, field))
                .collect(),
            owners: owners_of(value),
            finalizers: meta::finalizers(value).into_iter().map(Box::from).collect(),
            deleting: meta::is_deleting(value),
            bytes,
        }
    }

    /// Where the object lives.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// The object's namespace; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// `metadata.resourceVersion`.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The labels, sorted by key.
    pub fn labels(&self) -> &[(Box<str>, Box<str>)] {
        &self.labels
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self
            .labels
            .binary_search_by(|(label, _)| label.as_ref().cmp(key))
            .ok()?;
        self.labels.get(at).map(|(_, value)| value.as_ref())
    }

    /// The value of the resource's selectable field number `index`; absent is empty.
    pub fn field(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", AsRef::as_ref)
    }

    /// The owner references.
    pub fn owners(&self) -> &[OwnerRef] {
        &self.owners
    }

    /// The finalizers.
    pub fn finalizers(&self) -> &[Box<str>] {
        &self.finalizers
    }

    /// True if the object has that finalizer.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers
            .iter()
            .any(|held| held.as_ref() == finalizer)
    }

    /// True if the object is on its way out.
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// The object as JSON, ready to be sent or persisted.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The object as a JSON tree, parsed anew at each call.
    pub fn value(&self) -> Value {
        // The bytes were written or read by this type, so they parse.
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// This state under another version, for a watch that loses sight of the object.
    #[must_use]
    pub fn at_version(&self, version: u64) -> Self {
        let mut value = self.value();
        meta::set(
            &mut value,
            "resourceVersion",
            Value::String(version.to_string()),
        );
        let bytes = serde_json::to_vec(&value).map_or_else(|_| self.bytes.clone(), Bytes::from);
        Self {
            version,
            bytes,
            ..self.clone()
        }
    }

    /// Rough memory use in bytes, for bounds.
    pub fn footprint(&self) -> usize {
        let labels: usize = self
            .labels
            .iter()
            .map(|(key, value)| key.len() + value.len() + 32)
            .sum();
        let fields: usize = self.fields.iter().map(|value| value.len() + 16).sum();
        let owners = self.owners.len() * 160;
        size_of::<Self>() + self.bytes.len() + labels + fields + owners
    }
}

fn labels_of(value: &Value) -> Box<[(Box<str>, Box<str>)]> {
    let Some(labels) = meta::of(value).and_then(|meta| meta.get("labels")?.as_object()) else {
        return Box::default();
    };
    let mut pairs: Box<[(Box<str>, Box<str>)]> = labels
        .iter()
        .map(|(key, value)| {
            (
                key.as_str().into(),
                value.as_str().unwrap_or_default().into(),
            )
        })
        .collect();
    pairs.sort();
    pairs
}

fn field_of(value: &Value, field: &SelectableField) -> Box<str> {
    let found = field.paths.iter().find_map(|path| {
        path.iter()
            .try_fold(value, |value, step| value.get(step.as_ref()))
            .filter(|value| !value.is_null())
    });
    match found {
        Some(Value::String(text)) => text.as_str().into(),
        Some(Value::Bool(flag)) => flag.to_string().into(),
        Some(Value::Number(number)) => number.to_string().into(),
        // A boolean field that is absent reads as false, which only two labels have.
        _ if matches!(
            field.label.as_ref(),
            "spec.unschedulable" | "spec.hostNetwork"
        ) =>
        {
            "false".into()
        }
        _ => Box::default(),
    }
}

fn owners_of(value: &Value) -> Box<[OwnerRef]> {
    let Some(owners) = meta::of(value).and_then(|meta| meta.get("ownerReferences")?.as_array())
    else {
        return Box::default();
    };
    let text = |owner: &Value, member: &str| -> Box<str> {
        owner
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .into()
    };
    let flag = |owner: &Value, member: &str| {
        owner
            .get(member)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    };
    owners
        .iter()
        .map(|owner| OwnerRef {
            uid: text(owner, "uid"),
            name: text(owner, "name"),
            kind: text(owner, "kind"),
            api_version: text(owner, "apiVersion"),
            blocks_owner: flag(owner, "blockOwnerDeletion"),
            is_controller: flag(owner, "controller"),
        })
        .collect()
}
