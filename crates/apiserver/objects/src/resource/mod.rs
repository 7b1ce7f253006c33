//! What the store must know of a resource to treat its objects as the API server does.

mod builtin;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

/// Group and plural name: the unit objects are stored and listed by, whatever version they are read in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupResource {
    group: Arc<str>,
    resource: Arc<str>,
}

/// Whether objects live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Objects belong to a namespace.
    Namespaced,
    /// Objects belong to the cluster.
    Cluster,
}

/// Which changes raise `metadata.generation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationRule {
    /// The resource has no generation.
    None,
    /// Changes of `spec`.
    Spec,
    /// Changes of anything but `metadata` (and `status`, when that is a subresource).
    AllButMetadata,
}

/// What deleting an object does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The object goes at once, unless finalizers hold it.
    Immediate,
    /// A pod: its node gets a grace period to stop it.
    PodGrace,
    /// A namespace: it terminates until `spec.finalizers` is empty.
    NamespaceFinalizers,
}

/// A field that field selectors may name, besides `metadata.name` and `metadata.namespace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectableField {
    /// The label as requests write it, for example `spec.nodeName`.
    pub label: Arc<str>,
    /// Steps to the value inside the object; the first that exists of several alternatives.
    pub paths: Vec<Vec<Arc<str>>>,
}

/// A resource and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, never passed as arguments"
)]
pub struct Resource {
    /// Group and plural name.
    pub group_resource: GroupResource,
    /// The kind of its objects.
    pub kind: Arc<str>,
    /// Whether objects live in namespaces.
    pub scope: Scope,
    /// Whether `status` is written through its own subresource only.
    pub status: bool,
    /// Which changes raise the generation.
    pub generation: GenerationRule,
    /// Selectable fields; [`crate::Object`] keeps their values in this order.
    pub fields: Arc<[SelectableField]>,
    /// What deleting does first.
    pub removal: Removal,
    /// Whether a CRD defines the resource.
    pub custom: bool,
    /// Whether an update may leave out `metadata.resourceVersion`.
    pub unconditional_update: bool,
    /// Whether an update of a missing object creates it.
    pub create_on_update: bool,
    /// Whether a delete that removes the object answers with the object rather than a `Status`.
    pub returns_deleted: bool,
}

impl GroupResource {
    /// `group` is empty for the core group.
    pub fn new(group: &str, resource: &str) -> Self {
        Self {
            group: group.into(),
            resource: resource.into(),
        }
    }

    /// The API group; empty for core.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The plural name.
    pub fn resource(&self) -> &str {
        &self.resource
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

impl SelectableField {
    /// A field whose label is its path, for example `spec.nodeName`.
    pub fn at_path(path: &str) -> Self {
        let path = path.trim_start_matches('.');
        Self::new(path, &[path])
    }

    /// A field found at the first of `paths` that is present.
    pub fn new(label: &str, paths: &[&str]) -> Self {
        let paths = paths
            .iter()
            .map(|path| path.split('.').map(Arc::from).collect())
            .collect();
        Self {
            label: label.into(),
            paths,
        }
    }
}

impl Resource {
    /// The rules of a built-in resource; those it does not name in particular are plain.
    pub fn builtin(group: &str, resource: &str, kind: &str, scope: Scope) -> Self {
        builtin::rules(group, resource, kind, scope)
    }

    /// The rules of a resource that a CRD defines. `selectable` are the CRD's `selectableFields` paths.
    pub fn custom(
        group: &str,
        resource: &str,
        kind: &str,
        scope: Scope,
        status: bool,
        selectable: &[&str],
    ) -> Self {
        Self {
            group_resource: GroupResource::new(group, resource),
            kind: kind.into(),
            scope,
            status,
            generation: GenerationRule::AllButMetadata,
            fields: selectable
                .iter()
                .map(|path| SelectableField::at_path(path))
                .collect(),
            removal: Removal::Immediate,
            custom: true,
            unconditional_update: false,
            create_on_update: false,
            returns_deleted: false,
        }
    }

    /// The API group; empty for core.
    pub fn group(&self) -> &str {
        self.group_resource.group()
    }

    /// True if a CRD defines the resource.
    pub fn is_custom(&self) -> bool {
        self.custom
    }

    /// True if objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}
