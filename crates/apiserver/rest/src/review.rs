//! Defaults, validation and admission of one write, in the order of the real server.
//!
//! A write is decoded, stripped of unknown fields and given schema defaults before it is planned ([`intake`]); inside
//! the plan, where the stored object is known, the rules of its kind follow ([`review`]). For custom resources that
//! is: mutating admission, pruning and defaults again, schema and CEL and scale checks (422), validating admission
//! (400).

use kthena_apiserver_objects::{ApiError, meta, write::Review};
use kthena_schema::{Fault, FaultKind};
use serde_json::Value;

use crate::{
    admission,
    catalog::{ResourceType, custom},
    core_types::{check, defaults, settle},
    handlers::planning::Target,
    query::FieldValidation,
};

/// Which part of the object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The object itself: everything is checked.
    Object,
    /// A subresource: admission and the checks of other parts are skipped.
    Subresource,
}

/// Strips unknown fields, fills schema defaults and refuses wrong JSON types. Returns the warnings for the client.
pub(crate) fn intake(
    kind: &ResourceType,
    value: &mut Value,
    duplicates: &[String],
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    settle_type(kind, value)?;
    let strays = strip(kind, value, duplicates, validation)?;
    kind.schema.fill_defaults(value);
    if kind.is_builtin() {
        check_types(kind, value)?;
    }
    Ok(strays)
}

fn strip(
    kind: &ResourceType,
    value: &mut Value,
    duplicates: &[String],
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    let unknown = kind.schema.prune(value);
    let unknown = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""));
    let duplicates = duplicates
        .iter()
        .map(|path| format!("duplicate field \"{path}\""));
    let strays: Vec<String> = unknown.chain(duplicates).collect();
    match validation {
        FieldValidation::Strict if !strays.is_empty() => {
            let message = format!(
                "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
                kind.kind,
                kind.version,
                kind.kind,
                strays.join(", "),
            );
            Err(ApiError::bad_request(message))
        }
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Strict | FieldValidation::Warn => Ok(strays),
    }
}

/// Fills in the kind that the URL implies and refuses another.
fn settle_type(kind: &ResourceType, value: &mut Value) -> Result<(), ApiError> {
    let Some(map) = value.as_object_mut() else {
        return Err(ApiError::bad_request("the request body is not an object"));
    };
    let api_version = kind.api_version();
    let written = |member: &str| map.get(member).and_then(Value::as_str).unwrap_or_default();
    if !matches!(written("apiVersion"), "") && written("apiVersion") != api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({api_version})",
            written("apiVersion"),
        )));
    }
    if !matches!(written("kind"), "") && written("kind") != kind.kind {
        return Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: the kind in the data does not match",
            written("kind"),
            kind.version,
            kind.kind,
        )));
    }
    map.insert("apiVersion".into(), api_version.into());
    map.insert("kind".into(), kind.kind.as_str().into());
    Ok(())
}

/// The real server fails to decode built-in types with wrong JSON types; what is missing is for the kind's own rules.
fn check_types(kind: &ResourceType, value: &Value) -> Result<(), ApiError> {
    if let Some(found) = kind.schema.fractional_integer(value) {
        return Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal number {} into Go struct field {}.{} \
             of type {}",
            kind.kind, kind.version, kind.kind, found.number, kind.kind, found.path, found.go_type,
        )));
    }
    let wrong: Vec<Fault> = kind
        .schema
        .validate(value, None)
        .into_iter()
        .filter(|fault| matches!(fault.kind, FaultKind::TypeInvalid | FaultKind::Invalid))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: {}",
        kind.kind,
        kind.version,
        kind.kind,
        kthena_schema::summary(&wrong),
    )))
}

/// Applies the rules of `kind` inside a plan.
pub(crate) fn review(
    kind: &ResourceType,
    scope: Scope,
    now: jiff::Timestamp,
    review: Review<'_>,
) -> Result<(), ApiError> {
    let Review { old, new } = review;
    if kind.is_builtin() {
        return review_builtin(kind, scope, now, old, new);
    }
    review_custom(kind, scope, old, new)
}

fn review_builtin(
    kind: &ResourceType,
    scope: Scope,
    now: jiff::Timestamp,
    old: Option<&Value>,
    new: &mut Value,
) -> Result<(), ApiError> {
    // Both kinds of Event are core events by now; they have no rules of their own.
    let group = kind.group_resource().group();
    defaults::fill_defaults(group, &kind.kind, new);
    if scope == Scope::Subresource {
        return Ok(());
    }
    settle::settle(group, &kind.kind, new, old, &meta::time_text(now));
    let mut faults = check::faults(group, &kind.kind, new, old);
    if kind.kind == "CustomResourceDefinition"
        && faults.is_empty()
        && let Err(error) = custom::types(new)
    {
        let path = kthena_schema::FieldPath::new("spec.versions");
        faults.push(Fault::invalid(path, "schema", error.to_string()));
    }
    verdict(kind, new, faults)
}

fn review_custom(
    kind: &ResourceType,
    scope: Scope,
    old: Option<&Value>,
    new: &mut Value,
) -> Result<(), ApiError> {
    let rules = admission::rules(&kind.group, &kind.kind).filter(|_| scope == Scope::Object);
    if let Some(rules) = rules {
        admission::mutate(rules, new)?;
        kind.schema.prune(new);
    }
    kind.schema.fill_defaults(new);
    verdict(kind, new, custom_faults(kind, old, new))?;
    if let Some(rules) = rules {
        admission::validate(rules, new, old)?;
    }
    // A replica count of `2.0` is refused above, as the real server refuses it; what else is whole is stored as such.
    kthena_schema::go::settle_numbers(new);
    Ok(())
}

fn custom_faults(kind: &ResourceType, old: Option<&Value>, new: &Value) -> Vec<Fault> {
    let Some(scale) = kind.custom().and_then(|custom| custom.scale.as_ref()) else {
        return kind.schema.check(new, old);
    };
    let path = |steps: &[String]| format!(".{}", steps.join("."));
    let (wanted, current) = (path(&scale.spec_replicas), path(&scale.status_replicas));
    let selector = scale.label_selector.as_deref().map(path);
    let scale = kthena_schema::Scale {
        counts: &[wanted.as_str(), current.as_str()],
        selector: selector.as_deref(),
    };
    kind.schema.check_with_scale(new, old, scale)
}

fn verdict(kind: &ResourceType, object: &Value, faults: Vec<Fault>) -> Result<(), ApiError> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid {
        group: kind.group.clone(),
        kind: kind.kind.clone(),
        name: meta::text(object, "name").to_owned(),
        faults,
    })
}

/// Refuses unknown fields of an applied configuration, whatever validation was asked for: nobody could own them.
///
/// Defaults are left out, since the manager would come to own those.
pub(crate) fn intake_applied(
    target: Target<'_>,
    value: &mut Value,
    duplicates: &[String],
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    let Target {
        kind,
        namespace,
        name,
        ..
    } = target;
    for member in ["apiVersion", "kind"] {
        if value
            .get(member)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            let message =
                format!("invalid object type: {member} is missing in the applied configuration");
            return Err(ApiError::bad_request(message));
        }
    }
    settle_type(kind, value)?;
    let unknown: Vec<String> = kind
        .schema
        .prune(value)
        .iter()
        .map(ToString::to_string)
        .collect();
    if !unknown.is_empty() {
        let fields: Vec<String> = unknown
            .iter()
            .map(|path| format!(".{path}: field not declared in schema"))
            .collect();
        let fields = match fields.as_slice() {
            [only] => only.clone(),
            several => format!("errors:\n  {}", several.join("\n  ")),
        };
        return Err(ApiError::internal(format!(
            "failed to create typed patch object ({namespace}/{name}; {}, Kind={}): {fields}",
            kind.api_version(),
            kind.kind,
        )));
    }
    let strays = strip(kind, value, duplicates, validation)?;
    if kind.is_builtin() {
        check_types(kind, value)?;
    }
    Ok(strays)
}
