//! Chooses the form of an answer from the `Accept` header.
//!
//! # Invariants
//!
//! - The first entry the server can produce wins; weights are not read, because Kubernetes clients order by wish.
//! - Protobuf and CBOR are never produced, so clients that offer JSON as well get JSON.

#[cfg(test)]
mod tests;

/// How the object itself is shaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    /// As stored.
    #[default]
    Object,
    /// `meta.k8s.io` Table.
    Table,
    /// Metadata of one object.
    PartialObject,
    /// Metadata of a list's items.
    PartialObjectList,
    /// Aggregated discovery in this version.
    Discovery(&'static str),
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Encoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/yaml`.
    Yaml,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Accepted {
    pub(crate) shape: Shape,
    pub(crate) encoding: Encoding,
}

/// The first acceptable form, or `None` if the client wants only forms this server lacks.
pub(crate) fn negotiate(header: Option<&str>) -> Option<Accepted> {
    let header = header.unwrap_or_default().trim();
    if header.is_empty() {
        return Some(Accepted::default());
    }
    header.split(',').find_map(entry)
}

fn entry(entry: &str) -> Option<Accepted> {
    let mut parts = entry.split(';').map(str::trim);
    let encoding = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" | "application/x-yaml" | "text/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let (mut kind, mut group, mut version) = ("", "", "");
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key {
            "as" => kind = value,
            "g" => group = value,
            "v" => version = value,
            _ => {}
        }
    }
    let shape = match (kind, group, version) {
        ("", _, _) => Shape::Object,
        ("Table", "meta.k8s.io", "v1") => Shape::Table,
        ("PartialObjectMetadata", "meta.k8s.io", "v1") => Shape::PartialObject,
        ("PartialObjectMetadataList", "meta.k8s.io", "v1") => Shape::PartialObjectList,
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Shape::Discovery("v2"),
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => Shape::Discovery("v2beta1"),
        _ => return None,
    };
    Some(Accepted { shape, encoding })
}
