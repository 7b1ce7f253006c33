//! Creates.

use serde_json::{Value, json};

use super::{Create, Outcome, Part, Planned, Review, names, strategy};
use crate::error::ApiError;
use crate::meta;
use crate::resource::{GroupResource, Removal, Resource};
use crate::store::Store;
use crate::validate;

/// How often a drawn name may turn out to be taken.
const ATTEMPTS: u64 = 8;

impl Store {
    /// Plans to store a new object.
    pub fn plan_create(
        &self,
        resource: &Resource,
        create: Create<'_>,
    ) -> Result<Planned, ApiError> {
        let Create {
            namespace,
            mut object,
            author,
            admit,
        } = create;
        if !object.is_object() {
            return Err(ApiError::bad_request("the body is not an object"));
        }
        if !meta::text(&object, "resourceVersion").is_empty() {
            return Err(ApiError::VersionOnCreate);
        }
        settle_namespace(resource, namespace, &mut object)?;
        let generated = self.settle_name(resource, namespace, author.seed, &mut object);
        let name = meta::text(&object, "name").to_owned();
        self.check_namespace(resource, namespace, &name)?;

        meta::drop_empty(&mut object);
        strategy::prepare_create(resource, &mut object);
        meta::set(&mut object, "uid", json!(author.uid));
        meta::set(
            &mut object,
            "creationTimestamp",
            json!(meta::time_text(author.now)),
        );
        strategy::label_namespace(resource, &mut object);
        admit(Review {
            old: None,
            new: &mut object,
        })?;
        validate::new_object(resource, &object)?;
        if self
            .get(&resource.group_resource, namespace, &name)
            .is_some()
        {
            let resource = resource.group_resource.clone();
            return Err(ApiError::AlreadyExists {
                resource,
                name,
                generated,
            });
        }
        author.track(resource, None, &mut object, Part::Main);
        strategy::hold_namespace(resource, &mut object);
        self.plan_put(resource, object, None, Outcome::Created)
    }

    /// Draws a name if only a prefix is given; says whether it did.
    fn settle_name(
        &self,
        resource: &Resource,
        namespace: &str,
        seed: u64,
        object: &mut Value,
    ) -> bool {
        let prefix = meta::text(object, "generateName").to_owned();
        if prefix.is_empty() || !meta::text(object, "name").is_empty() {
            return false;
        }
        let free = |name: &String| {
            self.get(&resource.group_resource, namespace, name)
                .is_none()
        };
        let name = (0..ATTEMPTS)
            .map(|attempt| names::generated(&prefix, seed, attempt))
            .find(free)
            .unwrap_or_else(|| names::generated(&prefix, seed, 0));
        meta::set(object, "name", json!(name));
        true
    }

    /// The namespace must exist and not be on its way out.
    fn check_namespace(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        if !resource.is_namespaced() || resource.removal == Removal::NamespaceFinalizers {
            return Ok(());
        }
        let namespaces = GroupResource::new("", "namespaces");
        let found = self.fetch(&namespaces, "", namespace)?;
        if found.is_deleting() {
            return Err(ApiError::Forbidden {
                resource: resource.group_resource.clone(),
                name: name.to_owned(),
                message: format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                ),
                causes: vec![(
                    "NamespaceTerminating".to_owned(),
                    format!("namespace {namespace} is being terminated"),
                    "metadata.namespace".to_owned(),
                )],
            });
        }
        Ok(())
    }
}

/// Makes the object's namespace that of the request.
pub(super) fn settle_namespace(
    resource: &Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<(), ApiError> {
    let written = meta::text(object, "namespace");
    if !resource.is_namespaced() {
        meta::set(object, "namespace", Value::Null);
    } else if written.is_empty() {
        meta::set(object, "namespace", json!(namespace));
    } else if written != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}
