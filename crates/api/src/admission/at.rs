//! A value together with where it stands.

use kthena_schema::{Fault, FieldPath};
use serde_json::Value;

/// A part of an object. A part that is missing is `null`.
#[derive(Debug, Clone)]
pub(super) struct At<'v> {
    pub(super) value: &'v Value,
    pub(super) path: FieldPath,
}

const NULL: &Value = &Value::Null;

impl<'v> At<'v> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self {
            value,
            path: FieldPath::root(),
        }
    }

    pub(super) fn field(&self, name: &str) -> At<'v> {
        At {
            value: self.value.get(name).unwrap_or(NULL),
            path: self.path.field(name),
        }
    }

    /// Items of a list with their paths; nothing for any other value.
    pub(super) fn items(&self) -> impl Iterator<Item = At<'v>> + use<'_, 'v> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().enumerate().map(|(index, value)| At {
            value,
            path: self.path.index(index),
        })
    }

    /// Values of a map with their keys and paths, sorted by key; nothing for any other value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'v str, At<'v>)> + use<'_, 'v> {
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(|(key, value)| {
            (
                key.as_str(),
                At {
                    value,
                    path: self.path.key(key),
                },
            )
        })
    }

    pub(super) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// How many items a list or entries a map has.
    pub(super) fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        }
    }

    /// The text; empty if there is none.
    pub(super) fn text(&self) -> &'v str {
        self.value.as_str().unwrap_or("")
    }

    /// The integer, whole floats included.
    pub(super) fn int(&self) -> Option<i64> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only whole numbers far inside the range are cast"
        )]
        self.value.as_i64().or_else(|| {
            let float = self
                .value
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() < 1e15)?;
            Some(float as i64)
        })
    }

    pub(super) fn flag(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }

    /// The value is malformed or out of range.
    pub(super) fn invalid(&self, detail: impl Into<String>) -> Fault {
        Fault::invalid(self.path.clone(), self.value.clone(), detail)
    }

    /// A needed value is missing.
    pub(super) fn required(&self, detail: &str) -> Fault {
        Fault::required(self.path.clone(), detail)
    }

    /// The value is not allowed here.
    pub(super) fn forbidden(&self, detail: &str) -> Fault {
        Fault::forbidden(self.path.clone(), detail)
    }
}
