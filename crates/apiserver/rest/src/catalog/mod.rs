//! Which resources the server serves, with everything a request needs to know about each.
//!
//! # Invariants
//!
//! - A [`Catalog`] never changes; a new one takes its place when a `CustomResourceDefinition` does.
//! - Every version of a resource shares one [`Resource`], so its objects are stored once.

mod builtin;
pub(crate) mod custom;
pub(crate) mod schemas;

use std::{collections::HashMap, sync::Arc};

use kthena_apiserver_objects::{GroupResource, Resource, Scope};
use kthena_schema::{Schema, SchemaError};
use serde_json::Value;

/// What lies below an object in its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subresource {
    Status,
    Scale,
    Log,
    Binding,
    Eviction,
    Finalize,
}

impl Subresource {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "status" => Some(Self::Status),
            "scale" => Some(Self::Scale),
            "log" => Some(Self::Log),
            "binding" => Some(Self::Binding),
            "eviction" => Some(Self::Eviction),
            "finalize" => Some(Self::Finalize),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Log => "log",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Finalize => "finalize",
        }
    }

    pub(crate) const fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Status | Self::Scale => &["get", "patch", "update"],
            Self::Log => &["get"],
            Self::Binding | Self::Eviction => &["create"],
            Self::Finalize => &["update"],
        }
    }

    /// Group, version and kind of its bodies where they differ from the object's.
    pub(crate) const fn kind(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Scale => Some(("autoscaling", "v1", "Scale")),
            Self::Binding => Some(("", "v1", "Binding")),
            Self::Eviction => Some(("policy", "v1", "Eviction")),
            Self::Status | Self::Log | Self::Finalize => None,
        }
    }
}

/// The verbs of a resource.
const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Where a type comes from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Built in; the name of its schema in the data file.
    Builtin(&'static str),
    /// Defined by a `CustomResourceDefinition`.
    Custom(Arc<custom::CustomType>),
}

/// One version of a resource as it is served.
#[derive(Debug, Clone)]
pub(crate) struct ResourceType {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) subresources: Vec<Subresource>,
    /// What the store must know.
    pub(crate) rules: Arc<Resource>,
    pub(crate) schema: Schema,
    pub(crate) origin: Origin,
}

impl ResourceType {
    /// `v1` or `group/v1`.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// What can be done with it; namespaces are too much to be deleted at one stroke.
    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        if self.is_question() {
            return vec!["create"];
        }
        let refused =
            (self.plural == "namespaces" && self.group.is_empty()).then_some("deletecollection");
        VERBS
            .iter()
            .copied()
            .filter(|verb| Some(*verb) != refused)
            .collect()
    }

    /// Whether its objects are questions, which are answered and not kept.
    pub(crate) fn is_question(&self) -> bool {
        self.is_builtin()
            && matches!(
                self.group.as_str(),
                "authentication.k8s.io" | "authorization.k8s.io"
            )
    }

    pub(crate) fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }

    pub(crate) fn is_builtin(&self) -> bool {
        matches!(self.origin, Origin::Builtin(_))
    }

    pub(crate) fn custom(&self) -> Option<&custom::CustomType> {
        match &self.origin {
            Origin::Custom(custom) => Some(custom),
            Origin::Builtin(_) => None,
        }
    }

    /// Where its objects are stored: both kinds of Event are one.
    pub(crate) fn group_resource(&self) -> &GroupResource {
        &self.rules.group_resource
    }
}

/// `v1` for the core group, else `group/v1`.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        _ => format!("{group}/{version}"),
    }
}

/// All resource types.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    types: Vec<Arc<ResourceType>>,
    by_path: HashMap<(String, String, String), Arc<ResourceType>>,
}

impl Catalog {
    /// The built-in types alone.
    pub(crate) fn builtin() -> Result<Self, SchemaError> {
        let definitions = schemas::definitions()?;
        let mut catalog = Self::default();
        for row in builtin::BUILTINS {
            let Some(schema) = definitions.get(row.schema) else {
                return Err(SchemaError::UnknownDefinition(row.schema.to_owned()));
            };
            catalog.insert(Arc::new(from_row(row, schema.clone())));
        }
        Ok(catalog)
    }

    /// This catalog with the types of one more group, version and plural; an equal one is replaced.
    pub(crate) fn insert(&mut self, kind: Arc<ResourceType>) {
        let path = (
            kind.group.clone(),
            kind.version.clone(),
            kind.plural.clone(),
        );
        if self.by_path.insert(path, Arc::clone(&kind)).is_some() {
            self.types.retain(|old| !same_path(old, &kind));
        }
        self.types.push(kind);
    }

    pub(crate) fn get(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&Arc<ResourceType>> {
        let path = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.by_path.get(&path)
    }

    /// Any version of what is stored as `resource`.
    pub(crate) fn stored_as(&self, resource: &GroupResource) -> Option<&Arc<ResourceType>> {
        self.types
            .iter()
            .find(|kind| kind.group_resource() == resource)
    }

    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<ResourceType>> {
        let matches =
            |entry: &&Arc<ResourceType>| entry.kind == kind && entry.api_version() == api_version;
        self.types.iter().find(matches)
    }

    /// The types of a version, in the order they were added.
    pub(crate) fn of_version(
        &self,
        group: &str,
        version: &str,
    ) -> impl Iterator<Item = &Arc<ResourceType>> {
        self.types
            .iter()
            .filter(move |kind| kind.group == group && kind.version == version)
    }

    /// Group names in the order they were added.
    pub(crate) fn groups(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for kind in &self.types {
            if !names.contains(&kind.group.as_str()) {
                names.push(&kind.group);
            }
        }
        names
    }

    /// Versions of a group, the preferred one first.
    pub(crate) fn versions(&self, group: &str) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for kind in self.types.iter().filter(|kind| kind.group == group) {
            if !names.contains(&kind.version.as_str()) {
                names.push(&kind.version);
            }
        }
        names.sort_by_key(|version| custom::version_rank(version));
        names
    }

    /// Every type, in the order they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ResourceType>> {
        self.types.iter()
    }
}

fn same_path(one: &ResourceType, other: &ResourceType) -> bool {
    (&one.group, &one.version, &one.plural) == (&other.group, &other.version, &other.plural)
}

fn from_row(row: &builtin::Builtin, schema: Schema) -> ResourceType {
    let scope = if row.namespaced {
        Scope::Namespaced
    } else {
        Scope::Cluster
    };
    // Both kinds of Event are stored as the core one.
    let group = if row.kind == "Event" { "" } else { row.group };
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    ResourceType {
        group: row.group.into(),
        version: row.version.into(),
        kind: row.kind.into(),
        list_kind: format!("{}List", row.kind),
        plural: row.plural.into(),
        singular: row.kind.to_lowercase(),
        short_names: owned(row.short_names),
        categories: owned(row.categories),
        namespaced: row.namespaced,
        subresources: row.subresources.to_vec(),
        rules: Arc::new(Resource::builtin(group, row.plural, row.kind, scope)),
        schema,
        origin: Origin::Builtin(row.schema),
    }
}

/// Names of the schemas of all built-in types.
pub(crate) fn builtin_schema_names() -> impl Iterator<Item = &'static str> {
    builtin::BUILTINS.iter().map(|row| row.schema)
}

/// The texts of a list of strings.
pub(crate) fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(Value::as_str)
        .map(ToOwned::to_owned)
        .collect()
}
