//! Tells clients which groups, versions and resources exist, in the plain and in the aggregated form.
//!
//! # Invariants
//!
//! - Both forms are written from the same catalog, so they cannot disagree.
//! - Groups are listed in the order of the catalog: built-in ones first, then by name.

use serde_json::{Value, json};

use crate::catalog::{Catalog, ResourceType, Subresource};

/// The API version of aggregated discovery documents.
fn aggregated_version(version: &str) -> String {
    format!("apidiscovery.k8s.io/{version}")
}

/// The answer to `/api`.
pub(crate) fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

/// The answer to `/apis`.
pub(crate) fn group_list(catalog: &Catalog) -> Value {
    let groups: Vec<Value> = catalog
        .groups()
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| group_entry(catalog, name))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// The answer to `/apis/GROUP`, if there is such a group.
pub(crate) fn group(catalog: &Catalog, name: &str) -> Option<Value> {
    if name.is_empty() || !catalog.groups().contains(&name) {
        return None;
    }
    let mut entry = group_entry(catalog, name);
    entry["kind"] = "APIGroup".into();
    entry["apiVersion"] = "v1".into();
    Some(entry)
}

fn group_entry(catalog: &Catalog, name: &str) -> Value {
    let versions: Vec<Value> = catalog
        .versions(name)
        .into_iter()
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    let preferred = versions.first().cloned();
    json!({ "name": name, "versions": versions, "preferredVersion": preferred })
}

/// The answer to `/api/v1` and `/apis/GROUP/VERSION`, if there is such a version.
pub(crate) fn resource_list(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let types: Vec<_> = catalog.of_version(group, version).collect();
    if types.is_empty() {
        return None;
    }
    let resources: Vec<Value> = types
        .iter()
        .flat_map(|kind| {
            let subresources = kind
                .subresources
                .iter()
                .filter(|sub| !sub.verbs().is_empty());
            std::iter::once(plain_resource(kind))
                .chain(subresources.map(|sub| plain_subresource(kind, *sub)))
        })
        .collect();
    let group_version = match group {
        "" => version.to_owned(),
        _ => format!("{group}/{version}"),
    };
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }))
}

fn plain_resource(kind: &ResourceType) -> Value {
    let mut entry = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": kind.verbs(),
    });
    add_names(&mut entry, kind);
    entry
}

fn add_names(entry: &mut Value, kind: &ResourceType) {
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
}

fn plain_subresource(kind: &ResourceType, subresource: Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", kind.plural, subresource.name()),
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": subresource.kind().map_or(kind.kind.as_str(), |(_, _, kind)| kind),
        "verbs": subresource.verbs(),
    });
    if let Some((group, version, _)) = subresource.kind().filter(|(group, _, _)| !group.is_empty())
    {
        entry["group"] = group.into();
        entry["version"] = version.into();
    }
    entry
}

/// The aggregated answer to `/api` (only the core group) or `/apis` (all others).
pub(crate) fn aggregated(catalog: &Catalog, form: &str, core: bool) -> Value {
    let items: Vec<Value> = catalog
        .groups()
        .into_iter()
        .filter(|name| name.is_empty() == core)
        .map(|name| aggregated_group(catalog, name))
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": aggregated_version(form),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_group(catalog: &Catalog, name: &str) -> Value {
    let versions: Vec<Value> = catalog
        .versions(name)
        .into_iter()
        .map(|version| {
            let resources: Vec<Value> = catalog
                .of_version(name, version)
                .map(|kind| aggregated_resource(kind))
                .collect();
            json!({ "version": version, "freshness": "Current", "resources": resources })
        })
        .collect();
    let metadata = if name.is_empty() {
        json!({})
    } else {
        json!({ "name": name })
    };
    json!({ "metadata": metadata, "versions": versions })
}

fn aggregated_resource(kind: &ResourceType) -> Value {
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .filter(|subresource| !subresource.verbs().is_empty())
        .map(|subresource| {
            let (group, version, name) =
                subresource
                    .kind()
                    .unwrap_or((&kind.group, &kind.version, &kind.kind));
            json!({
                "subresource": subresource.name(),
                "responseKind": { "group": group, "version": version, "kind": name },
                "verbs": subresource.verbs(),
            })
        })
        .collect();
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": { "group": kind.group, "version": kind.version, "kind": kind.kind },
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs(),
    });
    add_names(&mut entry, kind);
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

/// The answer to `/version`: the release whose behaviour and types this server follows.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": "v1.36.3+kthena",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The processor as Go names it, because clients compare it with image platforms.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
