//! What is wrong with an object: where, what kind, with which value.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::go;
use crate::path::FieldPath;

/// One violation. Prints as a Kubernetes field error: `spec.port: Invalid value: 0: …`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Where.
    pub path: FieldPath,
    /// What kind of violation.
    pub kind: FaultKind,
    /// The offending value; `None` where Kubernetes leaves it out.
    pub value: Option<Value>,
    /// The rest of the message; may be empty.
    pub detail: String,
}

/// The kinds of violations that Kubernetes knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A needed value is missing.
    Required,
    /// A value is malformed or out of range.
    Invalid,
    /// A value has the wrong JSON type.
    TypeInvalid,
    /// A value is not one of those that are allowed.
    NotSupported,
    /// A value is not allowed here.
    Forbidden,
    /// A key or item occurs more than once.
    Duplicate,
    /// A text is too long.
    TooLong,
    /// A list or map has too many members.
    TooMany,
    /// Something that is referred to does not exist.
    NotFound,
    /// The check itself failed.
    Internal,
}

impl FaultKind {
    /// The text in messages.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }

    /// The machine-readable reason in `Status.details.causes`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::Internal => "InternalError",
        }
    }

    /// These kinds print without the value, however it is set.
    const fn hides_value(self) -> bool {
        matches!(
            self,
            Self::Required | Self::Forbidden | Self::TooLong | Self::Internal
        )
    }
}

/// One entry of `Status.details.causes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// For machines.
    pub reason: String,
    /// For people; without the path.
    pub message: String,
    /// The path.
    pub field: String,
}

impl Fault {
    /// A needed value is missing.
    pub fn required(path: FieldPath, detail: impl Into<String>) -> Self {
        Self {
            path,
            kind: FaultKind::Required,
            value: None,
            detail: detail.into(),
        }
    }

    /// A value is malformed or out of range.
    pub fn invalid(path: FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self {
            path,
            kind: FaultKind::Invalid,
            value: Some(value.into()),
            detail: detail.into(),
        }
    }

    /// A value has the wrong JSON type.
    pub fn type_invalid(
        path: FieldPath,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            path,
            kind: FaultKind::TypeInvalid,
            value: Some(value.into()),
            detail: detail.into(),
        }
    }

    /// A value is not one of `supported`.
    pub fn not_supported<S: AsRef<str>>(
        path: FieldPath,
        value: impl Into<Value>,
        supported: &[S],
    ) -> Self {
        let listed: Vec<String> = supported
            .iter()
            .map(|text| go::quote(text.as_ref()))
            .collect();
        let detail = if listed.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", listed.join(", "))
        };
        Self {
            path,
            kind: FaultKind::NotSupported,
            value: Some(value.into()),
            detail,
        }
    }

    /// A value is not allowed here.
    pub fn forbidden(path: FieldPath, detail: impl Into<String>) -> Self {
        Self {
            path,
            kind: FaultKind::Forbidden,
            value: None,
            detail: detail.into(),
        }
    }

    /// A key or item occurs more than once.
    pub fn duplicate(path: FieldPath, value: impl Into<Value>) -> Self {
        Self {
            path,
            kind: FaultKind::Duplicate,
            value: Some(value.into()),
            detail: String::new(),
        }
    }

    /// A text is longer than `max`.
    pub fn too_long(path: FieldPath, max: u64) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max} {unit}");
        Self {
            path,
            kind: FaultKind::TooLong,
            value: None,
            detail,
        }
    }

    /// A list or map has `actual` members, more than `max`.
    pub fn too_many(path: FieldPath, actual: u64, max: u64) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        Self {
            path,
            kind: FaultKind::TooMany,
            value: Some(actual.into()),
            detail,
        }
    }

    /// The message without the path.
    pub fn body(&self) -> String {
        let mut text = String::from(self.kind.text());
        if let Some(value) = self.value.as_ref().filter(|_| !self.kind.hides_value()) {
            text.push_str(": ");
            text.push_str(&go::error_value(value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }

    /// The entry of `Status.details.causes`.
    pub fn cause(&self) -> Cause {
        Cause {
            reason: self.kind.reason().to_owned(),
            message: self.body(),
            field: self.path.to_string(),
        }
    }

    /// True if rules must not run on an object with this fault: they would trip over it again.
    pub fn blocks_rules(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::Required
                | FaultKind::NotSupported
                | FaultKind::TooLong
                | FaultKind::TooMany
                | FaultKind::TypeInvalid
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// All faults in one text, as in the message of an `Invalid` status: one as it is, several as `[a, b]`.
pub fn summary(faults: &[Fault]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(faults.len());
    for fault in faults {
        let text = fault.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
