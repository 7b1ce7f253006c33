//! Runs the admission rules of our own kinds in process, where a cluster would call the webhooks.

use kthena_api::admission::Rules;
use kthena_apiserver_objects::{ApiError, patch};
use serde_json::Value;

/// The rules of a kind; `None` if it has none.
pub(crate) fn rules(group: &str, kind: &str) -> Option<Rules> {
    Rules::of(group, kind)
}

/// Sets the defaults of the mutating webhook.
pub(crate) fn mutate(rules: Rules, object: &mut Value) -> Result<(), ApiError> {
    let operations = rules.mutate(object);
    if !operations.is_empty() {
        *object = patch::json_patch(object, Value::from(operations).to_string().as_bytes())?;
    }
    Ok(())
}

/// Refuses what the validating webhook refuses.
pub(crate) fn validate(rules: Rules, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let faults = rules.validate(new, old);
    if faults.is_empty() {
        return Ok(());
    }
    Err(ApiError::Denied {
        message: rules.denial(&faults),
    })
}
