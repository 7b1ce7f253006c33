//! Where objects live: the collection of a kind, and the key of one object in it.

use std::fmt;

use kube::core::ApiResource;

/// Names one object among those of its kind. Cluster-scoped objects have an empty namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// The collection of one kind: what its URLs and its objects' type lines are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `v1`, `apps/v1`, …
    pub api_version: String,
    /// `Pod`, `ModelServing`, …
    pub kind: String,
    /// `pods`, `modelservings`, …
    pub plural: String,
}

impl ObjectKey {
    /// Joins a namespace and a name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

impl Target {
    /// The collection of a typed kind.
    pub fn of<K: k8s_openapi::Resource>() -> Self {
        Self {
            api_version: K::API_VERSION.to_owned(),
            kind: K::KIND.to_owned(),
            plural: K::URL_PATH_SEGMENT.to_owned(),
        }
    }

    /// Path of the collection, over all namespaces if none is given.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.api_version.contains('/') {
            "apis"
        } else {
            "api"
        };
        match namespace.filter(|namespace| !namespace.is_empty()) {
            Some(namespace) => {
                format!(
                    "/{root}/{}/namespaces/{namespace}/{}",
                    self.api_version, self.plural
                )
            }
            None => format!("/{root}/{}/{}", self.api_version, self.plural),
        }
    }

    /// Path of one object.
    pub fn object(&self, key: &ObjectKey) -> String {
        format!("{}/{}", self.collection(Some(&key.namespace)), key.name)
    }
}

impl From<&ApiResource> for Target {
    fn from(resource: &ApiResource) -> Self {
        Self {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            plural: resource.plural.clone(),
        }
    }
}
