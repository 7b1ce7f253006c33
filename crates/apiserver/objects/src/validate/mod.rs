//! The rules that hold for every object's metadata, with the API server's texts.

mod metadata;
pub mod names;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::error::{ApiError, Fault};
use crate::meta;
use crate::resource::Resource;

/// Checks the metadata of an object that is to be stored for the first time.
pub fn new_object(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    verdict(resource, object, metadata::faults(resource, object))
}

/// Checks the metadata of a changed object.
pub fn changed_object(resource: &Resource, old: &Value, new: &Value) -> Result<(), ApiError> {
    let mut faults = metadata::faults(resource, new);
    faults.extend(metadata::change_faults(old, new));
    verdict(resource, new, faults)
}

fn verdict(resource: &Resource, object: &Value, faults: Vec<Fault>) -> Result<(), ApiError> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid {
        group: resource.group().to_owned(),
        kind: resource.kind.to_string(),
        name: meta::text(object, "name").to_owned(),
        faults,
    })
}
