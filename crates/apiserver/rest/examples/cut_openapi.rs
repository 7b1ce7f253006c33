//! Cuts the published Kubernetes OpenAPI v3 documents down to the kinds this API server serves.
//!
//! Run from the repository root with the folder that holds the documents of a Kubernetes release and the file to
//! write:
//!
//! ```text
//! cargo run -p kthena-apiserver-rest --example cut_openapi -- \
//!     <kubernetes>/api/openapi-spec/v3 crates/apiserver/rest/data/openapi.json.gz
//! ```
//!
//! The output is one gzipped JSON object that maps a schema name to its schema, with every schema that the served
//! kinds reach. Paths are left out because the server writes them from its own resource table. Defaults that only
//! mirror a Go zero value are dropped: the real server never applies them, and a default in the data file would be.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

/// The documents that are read; a schema of a later document replaces an equal name of an earlier one.
const DOCUMENTS: &[&str] = &[
    "api__v1",
    "apis__apps__v1",
    "apis__autoscaling__v1",
    "apis__coordination.k8s.io__v1",
    "apis__discovery.k8s.io__v1",
    "apis__events.k8s.io__v1",
    "apis__policy__v1",
    "apis__apiextensions.k8s.io__v1",
    "apis__authentication.k8s.io__v1",
    "apis__authorization.k8s.io__v1",
];

/// The kinds served, by schema name; everything they refer to comes along.
const ROOTS: &[&str] = &[
    "io.k8s.api.apps.v1.ControllerRevision",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.ReplicaSet",
    "io.k8s.api.authentication.v1.SelfSubjectReview",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.coordination.v1.Lease",
    "io.k8s.api.core.v1.Binding",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Endpoints",
    "io.k8s.api.core.v1.Event",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Node",
    "io.k8s.api.core.v1.PersistentVolumeClaim",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.discovery.v1.EndpointSlice",
    "io.k8s.api.events.v1.Event",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
];

/// Where a reference to another schema points.
const REF_PREFIX: &str = "#/components/schemas/";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(source), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("usage: cut_openapi <folder of OpenAPI v3 documents> <output file>".into());
    };
    let all = read_schemas(Path::new(&source))?;
    let kept = reachable(&all)?;
    let mut encoder = GzEncoder::new(File::create(target)?, Compression::best());
    encoder.write_all(&serde_json::to_vec(&kept)?)?;
    encoder.finish()?.sync_all()?;
    Ok(())
}

fn read_schemas(folder: &Path) -> Result<BTreeMap<String, Value>, Box<dyn Error>> {
    let mut all = BTreeMap::new();
    for document in DOCUMENTS {
        let text = fs::read(folder.join(format!("{document}_openapi.json")))?;
        let mut parsed: Value = serde_json::from_slice(&text)?;
        let Value::Object(schemas) = parsed["components"]["schemas"].take() else {
            return Err(format!("{document} has no components.schemas").into());
        };
        all.extend(schemas);
    }
    Ok(all)
}

fn reachable(all: &BTreeMap<String, Value>) -> Result<BTreeMap<String, Value>, Box<dyn Error>> {
    let mut kept = BTreeMap::new();
    let mut open: BTreeSet<String> = ROOTS.iter().map(ToString::to_string).collect();
    while let Some(name) = open.pop_first() {
        if kept.contains_key(&name) {
            continue;
        }
        let mut schema = all
            .get(&name)
            .ok_or_else(|| format!("no document holds {name}"))?
            .clone();
        clean(&mut schema, &mut open);
        kept.insert(name, schema);
    }
    Ok(kept)
}

/// Drops zero-value defaults below `value` and notes every schema it refers to.
fn clean(value: &mut Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            // A property may itself be called "default"; only a literal is the keyword.
            if map.get("default").is_some_and(is_zero) {
                map.remove("default");
            }
            if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                references.extend(name.strip_prefix(REF_PREFIX).map(ToString::to_string));
            }
            map.values_mut().for_each(|child| clean(child, references));
        }
        Value::Array(items) => items.iter_mut().for_each(|child| clean(child, references)),
        _ => {}
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
