//! The scale subresource: the number of replicas, whatever the kind around it.

use std::sync::Arc;

use http::{Method, StatusCode};
use kthena_apiserver_objects::{ApiError, Object, Store, meta, patch, write::Part};
use kthena_schema::{Fault, FieldPath};
use serde_json::{Map, Value, json};

use super::{
    Call, Signature,
    planning::{Target, plan_update},
    read::body,
};
use crate::{
    answer,
    answer::Answer,
    catalog::{ResourceType, custom::ScalePaths},
    query::{OptionsKind, WriteOptions},
    views,
};

/// `GET` of a scale.
pub(crate) fn get(call: &Call) -> Answer {
    let object = {
        let store = call.server.engine.store();
        store
            .fetch(call.kind.group_resource(), call.namespace(), call.name())?
            .clone()
    };
    answer(call, &object)
}

fn answer(call: &Call, object: &Object) -> Answer {
    let scale = scale_of(&call.kind, &object.value())?;
    answer::value(StatusCode::OK, call.accepted.encoding, &scale)
}

/// `PUT` or `PATCH` of a scale.
pub(crate) async fn write(call: Call) -> Answer {
    let options = WriteOptions::read(&call.query, OptionsKind::Update)?;
    let change = Change::read(&call)?;
    let signature = Signature::new(&call, options.field_manager.as_deref())?;
    let kind = Arc::clone(&call.kind);
    let (namespace, name) = (call.namespace().to_owned(), call.name().to_owned());
    let plan = move |store: &Store| {
        let stored = store.fetch(kind.group_resource(), &namespace, &name)?;
        let mut object = views::shown(&kind, stored.value());
        let wanted = change.apply(scale_of(&kind, &object)?)?;
        let replicas = checked_replicas(&name, &wanted)?;
        let version = meta::text(&wanted, "resourceVersion").to_owned();
        if !version.is_empty() {
            meta::set(&mut object, "resourceVersion", version.into());
        }
        set_replicas(&kind, &mut object, replicas);
        let target = Target {
            kind: &kind,
            namespace: &namespace,
            name: &name,
            part: Part::Whole("scale"),
        };
        plan_update(
            store,
            target,
            views::stored(&kind, object),
            signature.author(&kind),
        )
    };
    let planned = call.server.engine.write(options.dry_run, plan).await?;
    answer(&call, &planned.object)
}

/// What a request wants of a scale.
#[derive(Debug)]
enum Change {
    Replace(Value),
    Json(bytes::Bytes),
    Merge(Value),
}

impl Change {
    fn read(call: &Call) -> Result<Self, ApiError> {
        if call.method == Method::PUT {
            return Ok(Self::Replace(body(call)?.value));
        }
        if call.content_type == "application/json-patch+json" {
            return Ok(Self::Json(call.body.clone()));
        }
        // A scale has no lists, so that all other formats come to the same.
        let decoded = crate::decode::yaml(&call.body)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        Ok(Self::Merge(decoded.value))
    }

    fn apply(&self, mut scale: Value) -> Result<Value, ApiError> {
        match self {
            Self::Replace(wanted) => Ok(wanted.clone()),
            Self::Json(operations) => patch::json_patch(&scale, operations),
            Self::Merge(change) => {
                patch::merge_patch(&mut scale, change);
                Ok(scale)
            }
        }
    }
}

fn checked_replicas(name: &str, scale: &Value) -> Result<i64, ApiError> {
    // Go leaves out a zero.
    let replicas = scale
        .pointer("/spec/replicas")
        .map_or(Some(0), Value::as_i64);
    let path = FieldPath::new("spec.replicas");
    let fault = match replicas {
        Some(replicas) if replicas < 0 => {
            Fault::invalid(path, replicas, "must be greater than or equal to 0")
        }
        Some(replicas) if i32::try_from(replicas).is_ok() => return Ok(replicas),
        _ => {
            let message = "Scale in version \"v1\" cannot be handled as a Scale: spec.replicas is not an int32";
            return Err(ApiError::bad_request(message));
        }
    };
    Err(ApiError::Invalid {
        group: "autoscaling".into(),
        kind: "Scale".into(),
        name: name.to_owned(),
        faults: vec![fault],
    })
}

/// The paths of a kind; built-in ones all have the same.
fn paths(kind: &ResourceType) -> Result<ScalePaths, ApiError> {
    if kind.is_builtin() {
        let steps = |path: [&str; 2]| path.map(ToOwned::to_owned).to_vec();
        return Ok(ScalePaths {
            spec_replicas: steps(["spec", "replicas"]),
            status_replicas: steps(["status", "replicas"]),
            label_selector: None,
        });
    }
    let scale = kind.custom().and_then(|custom| custom.scale.clone());
    scale.ok_or(ApiError::UnknownPath)
}

fn scale_of(kind: &ResourceType, object: &Value) -> Result<Value, ApiError> {
    let paths = paths(kind)?;
    let at = |path: &[String]| path.iter().try_fold(object, |value, step| value.get(step));
    let Some(replicas) = at(&paths.spec_replicas).and_then(Value::as_i64) else {
        let path = paths.spec_replicas.join(".");
        return Err(ApiError::internal(format!(
            "the spec replicas field \".{path}\" does not exist"
        )));
    };
    let current = at(&paths.status_replicas)
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let selector = match &paths.label_selector {
        Some(path) => at(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        None => selector_text(&object["spec"]["selector"]),
    };
    let mut metadata = Map::new();
    for member in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        let value = meta::text(object, member);
        if !value.is_empty() {
            metadata.insert(member.into(), value.into());
        }
    }
    let mut status = json!({ "replicas": current });
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    Ok(json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        // As Go writes it: a zero is left out.
        "spec": if replicas == 0 { json!({}) } else { json!({ "replicas": replicas }) },
        "status": status,
    }))
}

fn set_replicas(kind: &ResourceType, object: &mut Value, replicas: i64) {
    let Ok(paths) = paths(kind) else { return };
    let mut place = object;
    for step in &paths.spec_replicas {
        let Some(map) = place.as_object_mut() else {
            return;
        };
        place = map.entry(step.clone()).or_insert_with(|| json!({}));
    }
    *place = replicas.into();
}

/// A selector object as clients write it in a query.
fn selector_text(selector: &Value) -> String {
    let pairs = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<String> = pairs
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            _ => format!("{key} in ({})", values.join(",")),
        });
    }
    parts.join(",")
}
