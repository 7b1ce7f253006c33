//! Updates and the results of patches.

use std::sync::Arc;

use kthena_schema::{Fault, FieldPath};
use serde_json::{Value, json};

use super::{Outcome, Planned, Review, Update, create, strategy};
use crate::error::ApiError;
use crate::meta;
use crate::object::Object;
use crate::ownership;
use crate::resource::{Removal, Resource};
use crate::store::Store;
use crate::validate;

impl Store {
    /// Plans to store a new state of an object; the object goes if this was all that held it.
    pub fn plan_update(
        &self,
        resource: &Resource,
        update: Update<'_>,
    ) -> Result<Planned, ApiError> {
        let Update {
            namespace,
            name,
            part,
            mut object,
            author,
            admit,
        } = update;
        if !object.is_object() {
            return Err(ApiError::bad_request("the body is not an object"));
        }
        check_names(resource, namespace, name, &mut object)?;
        let stored = self.fetch(&resource.group_resource, namespace, name)?;
        check_versions(resource, stored, &object)?;

        let old = stored.value();
        meta::drop_empty(&mut object);
        let mut new = strategy::prepare_update(resource, part, &old, object);
        strategy::label_namespace(resource, &mut new);
        admit(Review {
            old: Some(&old),
            new: &mut new,
        })?;
        strategy::count_generation(resource, &old, &mut new);
        validate::changed_object(resource, &old, &new)?;
        author.track(resource, Some(&old), &mut new, part);
        meta::set(
            &mut new,
            "resourceVersion",
            json!(stored.version().to_string()),
        );
        ownership::keep_times(&old, &mut new);

        if is_released(resource, &old, &new) {
            return self.plan_put(resource, new, Some(stored), Outcome::Deleted);
        }
        if new == old {
            return Ok(Planned::unchanged(stored));
        }
        self.plan_put(resource, new, Some(stored), Outcome::Updated)
    }
}

fn check_names(
    resource: &Resource,
    namespace: &str,
    name: &str,
    object: &mut Value,
) -> Result<(), ApiError> {
    let written = meta::text(object, "name");
    if written.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    if written != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({written}) does not match the name on the URL ({name})"
        )));
    }
    create::settle_namespace(resource, namespace, object)
}

/// The uid and version that the object names, if it does, must be the stored ones.
fn check_versions(
    resource: &Resource,
    stored: &Arc<Object>,
    object: &Value,
) -> Result<(), ApiError> {
    let group_resource = &resource.group_resource;
    let uid = meta::text(object, "uid");
    if !uid.is_empty() && uid != stored.uid() {
        let place = match stored.namespace() {
            "" => stored.name().to_owned(),
            namespace => format!("{namespace}/{}", stored.name()),
        };
        return Err(ApiError::conflict(
            group_resource,
            stored.name(),
            format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{}/{place}, ResourceVersion: 0, \
                 AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                group_resource.resource(),
                stored.uid()
            ),
        ));
    }
    let version = meta::text(object, "resourceVersion");
    if version.is_empty() || version == "0" {
        if resource.unconditional_update {
            return Ok(());
        }
        let path = FieldPath::new("metadata.resourceVersion");
        return Err(ApiError::Invalid {
            group: resource.group().to_owned(),
            kind: group_resource.resource().to_owned(),
            name: stored.name().to_owned(),
            faults: vec![Fault::invalid(path, 0, "must be specified for an update")],
        });
    }
    if version == stored.version().to_string() {
        return Ok(());
    }
    if version.parse::<u64>().is_err() {
        return Err(ApiError::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {version:?}: \
             strconv.ParseUint: parsing {version:?}: invalid syntax"
        )));
    }
    Err(ApiError::conflict(
        group_resource,
        stored.name(),
        ApiError::MODIFIED,
    ))
}

/// True if the object is being deleted and nothing holds it any more.
pub(super) fn is_released(resource: &Resource, old: &Value, new: &Value) -> bool {
    if !meta::is_deleting(new) || !meta::finalizers(new).is_empty() {
        return false;
    }
    if resource.removal == Removal::NamespaceFinalizers {
        let held = meta::at(new, &["spec", "finalizers"]).and_then(Value::as_array);
        return held.is_none_or(Vec::is_empty);
    }
    meta::integer(old, "deletionGracePeriodSeconds") == Some(0)
}
