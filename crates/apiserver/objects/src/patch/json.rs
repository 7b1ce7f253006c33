//! JSON patch (RFC 6902).

use json_patch::Patch;
use serde_json::Value;

use crate::error::ApiError;

/// Most operations in one patch.
const MAX_OPERATIONS: usize = 10_000;

/// The object after all operations of `patch`. One that fails, fails all.
pub fn json_patch(object: &Value, patch: &[u8]) -> Result<Value, ApiError> {
    let operations: Vec<Value> = serde_json::from_slice(patch)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    let patch: Patch = serde_json::from_value(Value::Array(operations)).map_err(|_| refused())?;
    if patch.0.len() > MAX_OPERATIONS {
        return Err(ApiError::TooLarge {
            limit: MAX_OPERATIONS,
        });
    }
    let mut patched = object.clone();
    // The copy is thrown away on failure, so nothing needs to be undone (and undoing can panic).
    json_patch::patch_unsafe(&mut patched, &patch).map_err(|_| refused())?;
    Ok(patched)
}

/// The API server does not tell which operation failed.
fn refused() -> ApiError {
    ApiError::Unprocessable {
        message: "the server rejected our request due to an error in our request".to_owned(),
    }
}
