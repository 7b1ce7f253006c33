//! Prints the structural schema of a core/v1 `PodSpec`, compact, for `data/pod-spec-<version>.json`.
//!
//! ```sh
//! go mod download -json k8s.io/kubernetes@v1.34.0      # prints the folder it was put in
//! cargo run -p kthena-api --example pod_spec -- <folder>/api/openapi-spec/swagger.json > crates/api/data/pod-spec-1.34.json
//! ```

use std::io::{Error, ErrorKind, Write};

use kthena_api::crd::expand::expand;
use serde_json::Value;

fn main() -> Result<(), Error> {
    let invalid = |text: &str| Error::new(ErrorKind::InvalidData, text.to_owned());
    let path = std::env::args()
        .nth(1)
        .ok_or_else(|| invalid("usage: pod_spec <swagger.json>"))?;
    let document: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let definitions = document["definitions"]
        .as_object()
        .ok_or_else(|| invalid("the file has no definitions"))?;
    let schema = expand(definitions, "io.k8s.api.core.v1.PodSpec")
        .ok_or_else(|| invalid("no PodSpec, or a part of it is missing"))?;
    writeln!(std::io::stdout(), "{schema}")
}
