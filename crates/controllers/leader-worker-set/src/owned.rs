//! The fields of a `ModelServing` that follow from its `LeaderWorkerSet`: which of them differ, and how to mend them.

use kthena_api::defaults;
use kthena_api::model_serving::ModelServing;
use serde_json::{Map, Value, json};

use crate::translate::{BY_GROUP, LIMITS, Limit, Translation};

/// What must change, and its names for people.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drift {
    /// A JSON merge patch of the spec.
    pub(crate) spec: Value,
    /// The fields in it.
    pub(crate) fields: Vec<&'static str>,
}

/// Members of the spec that are compared as a whole.
const WHOLE: [&str; 4] = ["replicas", "plugins", "recoveryPolicy", "schedulerName"];

/// Compares all that follows from the set, defaults filled in; `None` if nothing differs.
pub(crate) fn drift(translation: &Translation, serving: &ModelServing) -> Option<Drift> {
    let wanted = with_defaults(&translation.spec);
    // What was decoded a moment ago can be encoded.
    let stored = with_defaults(&serde_json::to_value(&serving.spec).unwrap_or_default());
    let mut spec = Map::new();
    let mut fields = Vec::new();
    for name in WHOLE {
        if wanted[name] != stored[name] {
            fields.push(name);
            spec.insert(name.to_owned(), wanted[name].clone());
        }
    }
    if let Some(strategy) = rollout(&wanted, &stored) {
        fields.push("rolloutStrategy");
        spec.insert("rolloutStrategy".to_owned(), strategy);
    }
    let (roles, stored_roles) = (&wanted["template"]["roles"], &stored["template"]["roles"]);
    if roles != stored_roles {
        fields.push("template.roles");
        spec.insert("template".to_owned(), json!({ "roles": roles }));
    }
    (!fields.is_empty()).then_some(Drift {
        spec: Value::Object(spec),
        fields,
    })
}

fn with_defaults(spec: &Value) -> Value {
    let mut object = json!({ "spec": spec });
    defaults::fill("ModelServing", &mut object);
    object["spec"].take()
}

/// The part of the strategy that must change. A pause and a deadline are the user's.
fn rollout(wanted: &Value, stored: &Value) -> Option<Value> {
    let strategy = |spec: &Value| spec["rolloutStrategy"].clone();
    let (wanted, stored) = (strategy(wanted), strategy(stored));
    let value = |strategy: &Value, limit: &Limit| {
        let value = &strategy["rollingUpdateConfiguration"][limit.name];
        if value.is_null() {
            json!(limit.default)
        } else {
            value.clone()
        }
    };
    let limits: Map<_, _> = LIMITS
        .into_iter()
        .filter(|limit| value(&wanted, limit) != value(&stored, limit))
        .map(|limit| (limit.name.to_owned(), value(&wanted, &limit)))
        .collect();
    let is_other_kind = stored["type"].as_str().is_some_and(|kind| kind != BY_GROUP);
    if limits.is_empty() && !is_other_kind {
        return None;
    }
    let mut patch = json!({ "type": BY_GROUP });
    if !limits.is_empty() {
        patch["rollingUpdateConfiguration"] = Value::Object(limits);
    }
    Some(patch)
}

#[cfg(test)]
mod tests;
