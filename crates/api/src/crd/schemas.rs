//! The schemas of the six kinds, parsed once.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use kthena_schema::Schema;
use serde_json::Value;

static SCHEMAS: LazyLock<BTreeMap<String, Schema>> = LazyLock::new(|| {
    let parsed = super::all().into_iter().filter_map(|definition| {
        let kind = definition.pointer("/spec/names/kind")?.as_str()?.to_owned();
        let schema = definition
            .pointer("/spec/versions/0/schema/openAPIV3Schema")
            .map(Schema::parse_resource)?;
        // A test parses all six, so none is missing here.
        Some((kind, schema.ok()?))
    });
    parsed.collect()
});

/// The schemas by kind.
pub fn schemas() -> &'static BTreeMap<String, Schema> {
    &SCHEMAS
}

/// The schema of one of the six kinds.
pub fn schema(kind: &str) -> Option<&'static Schema> {
    SCHEMAS.get(kind)
}

/// Paths of the counts that a scale subresource reads, such as `.spec.replicas`; empty for kinds without one.
pub fn scale_paths(kind: &str) -> &'static [&'static str] {
    match kind {
        "ModelServing" => &[".spec.replicas", ".status.replicas"],
        _ => &[],
    }
}

/// The expanded core/v1 `PodSpec`.
pub(super) fn pod_spec() -> Value {
    // The file is generated; a test reads it.
    serde_json::from_str(include_str!("../../data/pod-spec-1.34.json")).unwrap_or_default()
}
