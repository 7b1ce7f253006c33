//! Renders errors as `Status` objects.

use serde_json::{Map, Value, json};

use super::{ApiError, Fault, FieldConflict};

impl ApiError {
    /// HTTP status code and machine-readable reason.
    pub fn code_and_reason(&self) -> (u16, &'static str) {
        match self {
            Self::NotFound { .. } | Self::UnknownPath => (404, "NotFound"),
            Self::VersionOnCreate | Self::MergeKeyMissing { .. } | Self::Untyped { .. } => {
                (500, "")
            }
            Self::AlreadyExists { .. } => (409, "AlreadyExists"),
            Self::Conflict { .. } | Self::ApplyConflict { .. } => (409, "Conflict"),
            Self::Invalid { .. } | Self::Unprocessable { .. } => (422, "Invalid"),
            Self::Expired { .. } => (410, "Expired"),
            Self::VersionTooLarge { .. } => (504, "Timeout"),
            Self::BadRequest { .. } => (400, "BadRequest"),
            Self::Forbidden { .. } => (403, "Forbidden"),
            Self::Denied { .. } => (400, ""),
            Self::Unauthorized => (401, "Unauthorized"),
            Self::MethodNotSupported { .. } => (405, "MethodNotAllowed"),
            Self::NotAcceptable { .. } => (406, "NotAcceptable"),
            Self::UnsupportedMediaType { .. } => (415, "UnsupportedMediaType"),
            Self::TooLarge { .. } => (413, "RequestEntityTooLarge"),
            Self::TooManyRequests { .. } => (429, "TooManyRequests"),
            Self::ServiceUnavailable { .. } => (503, "ServiceUnavailable"),
            Self::StorageFull { .. } => (507, "InsufficientStorage"),
            Self::NotImplemented { .. } => (501, "NotImplemented"),
            Self::Internal { .. } => (500, "InternalError"),
        }
    }

    /// HTTP status code.
    pub fn code(&self) -> u16 {
        self.code_and_reason().0
    }

    /// The `Status` object a client receives, also as the object of a watch's `ERROR` event.
    pub fn status(&self) -> Value {
        let (code, reason) = self.code_and_reason();
        let mut metadata = Map::new();
        if let Self::Expired {
            continue_token: Some(token),
            ..
        } = self
        {
            metadata.insert("continue".into(), json!(token));
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.to_string(),
            "code": code,
        });
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        if let Some(details) = self.details() {
            status["details"] = details;
        }
        status
    }

    fn details(&self) -> Option<Value> {
        match self {
            Self::NotFound { resource, name }
            | Self::AlreadyExists { resource, name, .. }
            | Self::Conflict { resource, name, .. } => {
                Some(named(name, resource.group(), resource.resource()))
            }
            Self::Forbidden {
                resource,
                name,
                causes,
                ..
            } => {
                let mut details = named(name, resource.group(), resource.resource());
                if !causes.is_empty() {
                    details["causes"] = causes
                        .iter()
                        .map(|(reason, message, field)| cause(reason, message, field))
                        .collect();
                }
                Some(details)
            }
            Self::Invalid {
                group,
                kind,
                name,
                faults,
            } => {
                let mut details = named(name, group, kind);
                details["causes"] = faults
                    .iter()
                    .map(|fault| cause(fault.kind.reason(), &fault.body(), &fault.path.to_string()))
                    .collect();
                Some(details)
            }
            Self::ApplyConflict { causes } => Some(json!({
                "causes": causes
                    .iter()
                    .map(|conflict| {
                        let message = format!("conflict with {}", conflict.manager);
                        cause("FieldManagerConflict", &message, &conflict.field)
                    })
                    .collect::<Vec<_>>(),
            })),
            Self::MethodNotSupported { resource, .. } => {
                Some(named("", resource.group(), resource.resource()))
            }
            Self::VersionTooLarge { .. } => Some(json!({
                "causes": [{
                    "reason": "ResourceVersionTooLarge",
                    "message": "Too large resource version",
                }],
                "retryAfterSeconds": 1,
            })),
            Self::TooManyRequests {
                retry_after_seconds,
                ..
            } => Some(json!({ "retryAfterSeconds": retry_after_seconds })),
            Self::Internal { message } => Some(json!({ "causes": [{ "message": message }] })),
            Self::Unprocessable { .. } => Some(json!({})),
            Self::UnknownPath
            | Self::VersionOnCreate
            | Self::MergeKeyMissing { .. }
            | Self::Untyped { .. }
            | Self::Expired { .. }
            | Self::BadRequest { .. }
            | Self::Denied { .. }
            | Self::StorageFull { .. }
            | Self::NotImplemented { .. }
            | Self::Unauthorized
            | Self::NotAcceptable { .. }
            | Self::UnsupportedMediaType { .. }
            | Self::TooLarge { .. }
            | Self::ServiceUnavailable { .. } => None,
        }
    }
}

fn named(name: &str, group: &str, kind: &str) -> Value {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.into(), json!(value));
        }
    }
    Value::Object(details)
}

fn cause(reason: &str, message: &str, field: &str) -> Value {
    let mut cause = Map::new();
    for (key, value) in [("reason", reason), ("message", message), ("field", field)] {
        if !value.is_empty() {
            cause.insert(key.into(), json!(value));
        }
    }
    Value::Object(cause)
}

pub(super) fn invalid_message(group: &str, kind: &str, name: &str, faults: &[Fault]) -> String {
    let kind = if group.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    };
    let summary = kthena_schema::summary(faults);
    if summary.is_empty() {
        return format!("{kind} {name:?} is invalid");
    }
    format!("{kind} {name:?} is invalid: {summary}")
}

pub(super) fn apply_conflict_message(causes: &[FieldConflict]) -> String {
    if let [only] = causes {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            only.manager, only.field
        );
    }
    let mut lines = Vec::new();
    let mut manager = None;
    for cause in causes {
        if manager != Some(&cause.manager) {
            lines.push(format!("conflicts with {}:", cause.manager));
            manager = Some(&cause.manager);
        }
        lines.push(format!("- {}", cause.field));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        causes.len(),
        lines.join("\n")
    )
}

pub(super) fn typed_faults(faults: &[String]) -> String {
    match faults {
        [only] => only.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    }
}
