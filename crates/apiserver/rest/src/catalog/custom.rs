//! Resource types that `CustomResourceDefinitions` define.

use std::{cmp::Reverse, sync::Arc};

use kthena_apiserver_objects::{GroupResource, Resource, Scope, Store};
use kthena_schema::{Schema, SchemaError};
use serde_json::Value;

use super::{Catalog, Origin, ResourceType, Subresource, texts};
use crate::core_types::json::{items, text};

/// Where the scale subresource finds its numbers, as steps of member names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScalePaths {
    pub(crate) spec_replicas: Vec<String>,
    pub(crate) status_replicas: Vec<String>,
    pub(crate) label_selector: Option<Vec<String>>,
}

/// What one version of a custom type has beyond a built-in one.
#[derive(Debug, Clone)]
pub(crate) struct CustomType {
    /// Name of the definition.
    pub(crate) definition: String,
    /// Uid and generation of the definition it was read from.
    revision: (String, u64),
    /// The API version that objects are stored in.
    pub(crate) stored_api_version: String,
    pub(crate) scale: Option<ScalePaths>,
    /// `additionalPrinterColumns` as written.
    pub(crate) columns: Vec<Value>,
}

impl CustomType {
    /// Uid and generation of the definition it was read from.
    pub(crate) fn revision(&self) -> (&str, u64) {
        (&self.revision.0, self.revision.1)
    }
}

/// Where the definitions themselves are stored.
pub(crate) fn definitions() -> GroupResource {
    GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions")
}

/// `catalog` with exactly those custom types that the definitions in `store` define.
///
/// Types of unchanged definitions are kept as they are, so that their schemas are not parsed again.
pub(crate) fn updated(catalog: &Catalog, store: &Store) -> Catalog {
    let mut next = Catalog::default();
    for kind in catalog.iter().filter(|kind| kind.is_builtin()) {
        next.insert(Arc::clone(kind));
    }
    for object in store.objects(&definitions(), None) {
        let definition = object.value();
        let revision = revision(&definition);
        let kept = |kind: &&Arc<ResourceType>| {
            let custom = kind.custom();
            custom.is_some_and(|custom| {
                custom.definition == object.name() && custom.revision == revision
            })
        };
        let mut held = catalog.iter().filter(kept).peekable();
        if held.peek().is_some() {
            held.for_each(|kind| next.insert(Arc::clone(kind)));
            continue;
        }
        match types(&definition) {
            Ok(types) => types
                .into_iter()
                .for_each(|kind| next.insert(Arc::new(kind))),
            // Admission parses every schema, so only a file of a newer program gets here.
            Err(error) => {
                tracing::error!(name = object.name(), %error, "a definition cannot be served");
            }
        }
    }
    next
}

fn revision(definition: &Value) -> (String, u64) {
    let generation = definition
        .pointer("/metadata/generation")
        .and_then(Value::as_u64);
    (
        text(definition, &["metadata", "uid"]).to_owned(),
        generation.unwrap_or_default(),
    )
}

/// The served versions of a definition.
pub(crate) fn types(definition: &Value) -> Result<Vec<ResourceType>, SchemaError> {
    let spec = &definition["spec"];
    let (group, names) = (text(spec, &["group"]), &spec["names"]);
    let (kind, plural) = (text(names, &["kind"]), text(names, &["plural"]));
    let namespaced = text(spec, &["scope"]) == "Namespaced";
    let scope = if namespaced {
        Scope::Namespaced
    } else {
        Scope::Cluster
    };
    let mut versions: Vec<&Value> = items(spec, "versions").collect();
    let storage = versions.iter().find(|version| version["storage"] == true);
    let stored_api_version = super::api_version(
        group,
        storage.map_or("", |version| text(version, &["name"])),
    );
    let has_status =
        storage.is_some_and(|version| version.pointer("/subresources/status").is_some());
    let selectable: Vec<String> = storage
        .into_iter()
        .flat_map(|version| items(version, "selectableFields"))
        .map(|field| text(field, &["jsonPath"]).to_owned())
        .collect();
    let selectable: Vec<&str> = selectable.iter().map(String::as_str).collect();
    let rules = Arc::new(Resource::custom(
        group,
        plural,
        kind,
        scope,
        has_status,
        &selectable,
    ));
    versions.retain(|version| version["served"] == true);
    versions
        .into_iter()
        .map(|version| {
            let nothing = serde_json::json!({ "type": "object" });
            let schema = version
                .pointer("/schema/openAPIV3Schema")
                .unwrap_or(&nothing);
            Ok(ResourceType {
                group: group.into(),
                version: text(version, &["name"]).into(),
                kind: kind.into(),
                list_kind: text(names, &["listKind"]).into(),
                plural: plural.into(),
                singular: text(names, &["singular"]).into(),
                short_names: texts(names.get("shortNames")),
                categories: texts(names.get("categories")),
                namespaced,
                subresources: subresources(version),
                rules: Arc::clone(&rules),
                schema: Schema::parse_resource(schema)?,
                origin: Origin::Custom(Arc::new(CustomType {
                    definition: text(definition, &["metadata", "name"]).into(),
                    revision: revision(definition),
                    stored_api_version: stored_api_version.clone(),
                    scale: version.pointer("/subresources/scale").map(scale_paths),
                    columns: items(version, "additionalPrinterColumns")
                        .cloned()
                        .collect(),
                })),
            })
        })
        .collect()
}

fn subresources(version: &Value) -> Vec<Subresource> {
    [
        ("status", Subresource::Status),
        ("scale", Subresource::Scale),
    ]
    .into_iter()
    .filter(|(name, _)| {
        version["subresources"]
            .get(name)
            .is_some_and(Value::is_object)
    })
    .map(|(_, subresource)| subresource)
    .collect()
}

fn scale_paths(scale: &Value) -> ScalePaths {
    let steps = |member: &str| -> Vec<String> {
        let path = text(scale, &[member]);
        path.split('.')
            .filter(|step| !step.is_empty())
            .map(ToOwned::to_owned)
            .collect()
    };
    let selector = steps("labelSelectorPath");
    ScalePaths {
        spec_replicas: steps("specReplicasPath"),
        status_replicas: steps("statusReplicasPath"),
        label_selector: (!selector.is_empty()).then_some(selector),
    }
}

/// Orders versions as discovery does: stable before beta before alpha, newer first, odd names last.
pub(crate) fn version_rank(version: &str) -> (u8, Reverse<u64>, Reverse<u64>, String) {
    let odd = (3, Reverse(0), Reverse(0), version.to_owned());
    let Some(rest) = version.strip_prefix('v') else {
        return odd;
    };
    let (stage, major, minor) = if let Some((major, minor)) = rest.split_once("beta") {
        (1, major, minor)
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (2, major, minor)
    } else {
        (0, rest, "0")
    };
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => (stage, Reverse(major), Reverse(minor), String::new()),
        _ => odd,
    }
}
