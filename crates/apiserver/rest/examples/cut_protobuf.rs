//! Reads how Kubernetes types look in protobuf from their Go sources, for the kinds this API server serves.
//!
//! Run from the repository root with the folders of the Go modules `k8s.io/api` and `k8s.io/apimachinery` and the
//! file to write:
//!
//! ```text
//! cargo run -p kthena-apiserver-rest --example cut_protobuf -- \
//!     <k8s.io/api> <k8s.io/apimachinery> crates/apiserver/rest/data/protobuf.json.gz
//! ```
//!
//! The output is one gzipped JSON object that maps a message such as `core/v1.Pod` to its fields: number, JSON name,
//! type and mode. The Go sources are read rather than the `.proto` files because only they tell a field that may be
//! absent (a pointer) from one whose zero value means the same.
//!
//! Types: `s` text, `b` bytes, `?` boolean, `i` integer, `t` time, `T` time with microseconds, `q` quantity,
//! `o` integer or text, `r` raw JSON in a message, else a message. Modes: `p` pointer, `v` value, `l` list, `m` map from
//! text, `i` members of the object around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// Packages of the API module that are read.
const PACKAGES: &[&str] = &[
    "apps/v1",
    "authentication/v1",
    "authorization/v1",
    "autoscaling/v1",
    "coordination/v1",
    "core/v1",
    "discovery/v1",
    "events/v1",
    "policy/v1",
];

/// Messages that clients send; everything they hold comes along.
const ROOTS: &[&str] = &[
    "apps/v1.ControllerRevision",
    "apps/v1.Deployment",
    "apps/v1.ReplicaSet",
    "authentication/v1.SelfSubjectReview",
    "authorization/v1.SelfSubjectAccessReview",
    "authorization/v1.SelfSubjectRulesReview",
    "autoscaling/v1.Scale",
    "coordination/v1.Lease",
    "core/v1.Binding",
    "core/v1.ConfigMap",
    "core/v1.Endpoints",
    "core/v1.Event",
    "core/v1.Namespace",
    "core/v1.Node",
    "core/v1.PersistentVolumeClaim",
    "core/v1.Pod",
    "core/v1.Secret",
    "core/v1.Service",
    "core/v1.ServiceAccount",
    "discovery/v1.EndpointSlice",
    "events/v1.Event",
    "meta/v1.DeleteOptions",
    "policy/v1.Eviction",
];

/// One field of a struct as it is written.
#[derive(Debug, Clone)]
struct Field {
    number: u32,
    json: String,
    go_type: String,
}

/// All declarations, by `package.Name`.
#[derive(Debug, Default)]
struct Sources {
    structs: BTreeMap<String, Vec<Field>>,
    aliases: BTreeMap<String, String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [api, machinery, target] = arguments.as_slice() else {
        return Err("usage: cut_protobuf <k8s.io/api> <k8s.io/apimachinery> <output file>".into());
    };
    let mut sources = Sources::default();
    for package in PACKAGES {
        sources.read(
            package,
            &fs::read_to_string(Path::new(api).join(package).join("types.go"))?,
        );
    }
    let meta = Path::new(machinery).join("pkg/apis/meta/v1/types.go");
    sources.read("meta/v1", &fs::read_to_string(meta)?);
    let messages = sources.reachable()?;
    let mut encoder = GzEncoder::new(File::create(target)?, Compression::best());
    encoder.write_all(&serde_json::to_vec(&messages)?)?;
    encoder.finish()?.sync_all()?;
    Ok(())
}

impl Sources {
    fn read(&mut self, package: &str, text: &str) {
        let mut open: Option<String> = None;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["type", name, "struct", "{"] => open = Some(format!("{package}.{name}")),
                ["type", name, base, ..] if *base != "interface" && *base != "struct" => {
                    self.aliases
                        .insert(format!("{package}.{name}"), (*base).to_owned());
                }
                ["}"] => open = None,
                _ => {
                    if let (Some(owner), Some(field)) = (&open, field(line)) {
                        self.structs.entry(owner.clone()).or_default().push(field);
                    }
                }
            }
        }
    }

    fn reachable(&self) -> Result<BTreeMap<String, Value>, Box<dyn Error>> {
        let mut messages = BTreeMap::new();
        let mut open: BTreeSet<String> = ROOTS.iter().map(ToString::to_string).collect();
        while let Some(name) = open.pop_first() {
            if messages.contains_key(&name) {
                continue;
            }
            let (package, _) = name.split_once('.').ok_or("a message without a package")?;
            let fields = self
                .structs
                .get(&name)
                .ok_or_else(|| format!("no struct {name}"))?;
            let mut rows = Vec::new();
            for field in fields {
                let (mode, kind) = self.shape(package, &field.go_type)?;
                let mode = if field.json.is_empty() { "i" } else { mode };
                if kind.contains('.') {
                    open.insert(kind.clone());
                }
                rows.push(json!([field.number, field.json, kind, mode]));
            }
            messages.insert(name, rows.into());
        }
        Ok(messages)
    }

    /// Mode and type of a Go type as it is written in `package`.
    fn shape(
        &self,
        package: &str,
        go_type: &str,
    ) -> Result<(&'static str, String), Box<dyn Error>> {
        if let Some(inner) = go_type.strip_prefix('*') {
            return Ok(("p", self.shape(package, inner)?.1));
        }
        if go_type == "[]byte" {
            return Ok(("v", "b".to_owned()));
        }
        if let Some(inner) = go_type.strip_prefix("[]") {
            return Ok(("l", self.shape(package, inner)?.1));
        }
        if let Some((_, inner)) = go_type
            .strip_prefix("map[")
            .and_then(|rest| rest.split_once(']'))
        {
            return Ok(("m", self.shape(package, inner)?.1));
        }
        let known = match go_type {
            "string" | "types.UID" => Some("s"),
            "bool" => Some("?"),
            "int" | "int32" | "int64" => Some("i"),
            "resource.Quantity" => Some("q"),
            "intstr.IntOrString" => Some("o"),
            "runtime.RawExtension" => Some("r"),
            _ => None,
        };
        if let Some(known) = known {
            return Ok(("v", known.to_owned()));
        }
        let name = match go_type.split_once('.') {
            None => format!("{package}.{go_type}"),
            Some(("metav1", name)) => format!("meta/v1.{name}"),
            Some(("v1" | "corev1", name)) => format!("core/v1.{name}"),
            Some(_) => return Err(format!("{package} uses the unknown type {go_type}").into()),
        };
        match name.as_str() {
            "meta/v1.Time" => return Ok(("v", "t".to_owned())),
            "meta/v1.MicroTime" => return Ok(("v", "T".to_owned())),
            "meta/v1.FieldsV1" => return Ok(("v", "r".to_owned())),
            _ => {}
        }
        match self.aliases.get(&name) {
            Some(base) => self.shape(name.split('.').next().unwrap_or(package), base),
            None => Ok(("v", name)),
        }
    }
}

/// A field with a protobuf number; `None` for anything else.
fn field(line: &str) -> Option<Field> {
    let line = line.trim();
    if line.starts_with("//") {
        return None;
    }
    let (declaration, tags) = line.split_once('`')?;
    let tag = |name: &str| tags.split_once(&format!("{name}:\""))?.1.split('"').next();
    let number = tag("protobuf")?.split(',').nth(1)?.parse().ok()?;
    let json = tag("json")?;
    // Members of an embedded struct stand in the object itself.
    let json = if json.contains("inline") {
        ""
    } else {
        json.split(',').next()?
    };
    let go_type = declaration.split_whitespace().last()?.to_owned();
    Some(Field {
        number,
        json: json.to_owned(),
        go_type,
    })
}
