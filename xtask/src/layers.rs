//! Which crate may use which, and which crates touch nothing but their arguments.
//!
//! The table is the architecture: a new edge is a line here that a reviewer sees.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, Metadata, Package};

use crate::run::say;
use crate::sources;

/// Whether a crate may reach outside its arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No async runtime, socket, file, environment, clock or hidden randomness.
    Pure,
    /// Observes and applies.
    Shell,
    /// Tests, benches and the project's own checks: may use anything.
    Tool,
}

use Kind::{Pure, Shell, Tool};

/// Crate, kind, and the crates of ours it may use beside those that everyone may.
const TABLE: &[(&str, Kind, &[&str])] = &[
    ("schema", Pure, &[]),
    ("api", Pure, &["schema"]),
    ("wire", Pure, &[]),
    ("telemetry", Shell, &[]),
    ("process", Shell, &[]),
    ("cluster", Shell, &[]),
    ("apiserver-objects", Pure, &["schema"]),
    ("apiserver-rest", Shell, &["apiserver-objects", "schema"]),
    ("apiserver-builtin", Shell, &["cluster"]),
    ("controllers-leader-worker-set", Pure, &[]),
    ("controllers-model-serving", Pure, &[]),
    (
        "controllers-driver",
        Shell,
        &[
            "controllers-leader-worker-set",
            "controllers-model-serving",
            "cluster",
        ],
    ),
    ("controllers-webhook", Shell, &["cluster"]),
    ("node", Shell, &["cluster"]),
    ("engine-sim", Shell, &["kv-events"]),
    ("router-routing", Pure, &[]),
    ("router-scheduler", Pure, &[]),
    ("router-connectors", Pure, &[]),
    ("router-engines", Pure, &[]),
    ("router-filters", Pure, &[]),
    ("router-health", Pure, &[]),
    ("router-prefix", Pure, &[]),
    ("router-tokenizer", Pure, &[]),
    (
        "router-tokens",
        Shell,
        &[
            "router-observability",
            "router-scheduler",
            "router-tokenizer",
        ],
    ),
    (
        "router-plugins",
        Pure,
        &["router-scheduler", "router-prefix"],
    ),
    (
        "scheduling-sim",
        Pure,
        &[
            "engine-sim",
            "kv-events",
            "router-filters",
            "router-plugins",
            "router-scheduler",
        ],
    ),
    ("sidecar", Shell, &["kv-events"]),
    ("kv-events", Shell, &["router-scheduler"]),
    ("router-view", Pure, &["router-routing", "router-scheduler"]),
    ("router-observability", Shell, &[]),
    (
        "router-sharing",
        Shell,
        &["router-scheduler", "router-filters"],
    ),
    (
        "router-pipeline",
        Shell,
        &[
            "router-view",
            "router-routing",
            "router-scheduler",
            "router-observability",
            "router-connectors",
            "router-filters",
            "router-health",
        ],
    ),
    (
        "router-proxy",
        Shell,
        &[
            "router-pipeline",
            "router-view",
            "router-routing",
            "router-scheduler",
            "router-observability",
            "router-connectors",
            "router-engines",
            "router-filters",
            "router-health",
            "router-plugins",
            "router-sharing",
            "router-tokenizer",
            "router-tokens",
            "kv-events",
            "cluster",
        ],
    ),
    (
        "local",
        Shell,
        &[
            "apiserver-rest",
            "apiserver-builtin",
            "node",
            "router-proxy",
            "controllers-driver",
            "cluster",
        ],
    ),
    (
        "",
        Shell,
        &[
            "local",
            "router-proxy",
            "controllers-driver",
            "controllers-webhook",
            "cluster",
            "engine-sim",
            "kv-events",
            "node",
            "scheduling-sim",
            "sidecar",
            "schema",
        ],
    ),
    ("testkit", Tool, &[]),
    ("it", Tool, &[]),
    ("conformance", Tool, &[]),
    ("bench", Tool, &[]),
    ("fuzz", Tool, &[]),
    ("xtask", Tool, &[]),
];

/// What every crate may use, and what shells may use besides.
const FOR_ALL: &[&str] = &["api", "wire"];
const FOR_SHELLS: &[&str] = &["process", "telemetry"];

/// Crates from elsewhere that a pure crate must not use.
const IMPURE_DEPENDENCIES: &[&str] = &[
    "tokio",
    "hyper",
    "hyper-util",
    "axum",
    "tower",
    "reqwest",
    "kube",
    "redb",
    "socket2",
    "rustix",
    "tempfile",
    "tracing-subscriber",
    "uuid",
];

/// Words that a pure crate must not contain.
const IMPURE_WORDS: &[&str] = &[
    "std::fs",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "std::env",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "rand::rng",
    "fastrand::u",
    "fastrand::f",
    "fastrand::Rng::new()",
];

/// Fails on every edge that the table does not allow and on every pure crate that is not.
pub(crate) fn check() -> Result<()> {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec()?;
    let table: BTreeMap<&str, (Kind, &[&str])> = TABLE
        .iter()
        .map(|(name, kind, uses)| (*name, (*kind, *uses)))
        .collect();
    let mut faults = edges(&metadata, &table);
    for package in &metadata.packages {
        if table
            .get(short(&package.name))
            .is_some_and(|(kind, _)| *kind == Pure)
        {
            faults.extend(impurities(package)?);
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    say(&format!("{}\n", faults.join("\n")));
    bail!("{} against the table of layers", faults.len())
}

fn short(name: &str) -> &str {
    if name == "kthena" {
        ""
    } else {
        name.strip_prefix("kthena-").unwrap_or(name)
    }
}

fn edges(metadata: &Metadata, table: &BTreeMap<&str, (Kind, &[&str])>) -> Vec<String> {
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let Some((kind, uses)) = table.get(short(&package.name)) else {
            faults.push(format!("{} is not in the table of layers", package.name));
            continue;
        };
        if *kind == Tool {
            continue;
        }
        let targets = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .filter(|dependency| ours.contains(dependency.name.as_str()));
        for dependency in targets {
            let target = short(&dependency.name);
            let allowed = uses.contains(&target)
                || FOR_ALL.contains(&target)
                || (*kind == Shell && FOR_SHELLS.contains(&target));
            if !allowed {
                faults.push(format!("{} may not use {}", package.name, dependency.name));
            }
        }
    }
    faults
}

fn impurities(package: &Package) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for dependency in &package.dependencies {
        if dependency.kind == DependencyKind::Normal
            && IMPURE_DEPENDENCIES.contains(&dependency.name.as_str())
        {
            faults.push(format!(
                "{} is pure and may not use {}",
                package.name, dependency.name
            ));
        }
    }
    let Some(folder) = package.manifest_path.parent() else {
        return Ok(faults);
    };
    for source in sources::of_crate(folder.as_std_path())? {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = IMPURE_WORDS.iter().find(|word| code.contains(**word)) {
                faults.push(format!(
                    "{}:{}: {word} in a pure crate",
                    source.path.display(),
                    number + 1
                ));
            }
        }
    }
    Ok(faults)
}
