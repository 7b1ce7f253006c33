//! What a node agent has to be told. Flags and environment are read by the program, not here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::launch::command::EngineMode;
use crate::machine;
use crate::machine::address::AddressRange;
use crate::machine::request::Amount;
use crate::plan::backoff::BackoffRules;

/// How many pods a node takes that is told nothing else.
const PODS: i64 = 500;
/// Size at which a log is rotated, bytes.
const LOG_BYTES: u64 = 10 * 1024 * 1024;
/// Log files kept per run of a container.
const LOG_FILES: u32 = 5;

/// What happens to the processes when the agent is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnShutdown {
    /// They are stopped, with their grace but at most this long, and so is the supervisor.
    StopPods {
        /// Longest grace.
        within: Duration,
    },
    /// They go on, and the next agent adopts them.
    LeaveRunning,
}

/// Settings of one node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Name of the Node object.
    pub name: String,
    /// Where everything about pods is kept. One agent per folder.
    pub state_dir: PathBuf,
    /// Address of the node.
    pub host_ip: IpAddr,
    /// Labels of the Node object besides the usual ones.
    pub labels: BTreeMap<String, String>,
    /// What the node offers.
    pub capacity: Amount,
    /// Addresses for pods.
    pub addresses: AddressRange,
    /// Bind pods that no scheduler has taken, whatever scheduler they name.
    pub claim_unassigned: bool,
    /// How engines are run.
    pub engine: EngineMode,
    /// Program and first arguments of the simulated engine, such as `kthena engine`.
    pub engine_program: Vec<String>,
    /// Program and first arguments that lead to [`crate::supervisor::main`], such as `kthena node-shim`.
    pub shim_program: Vec<String>,
    /// Variables that every container starts from: what an image would have brought, `PATH` first of all.
    pub base_env: BTreeMap<String, String>,
    /// Restart delays.
    pub backoff: BackoffRules,
    /// Size at which a log file is rotated, bytes.
    pub log_bytes: u64,
    /// Log files kept per run of a container.
    pub log_files: u32,
    /// Time between two renewals of the node's Lease.
    pub heartbeat: Duration,
    /// Time between two writes of an unchanged node status.
    pub status_interval: Duration,
    /// Time between two looks at the `ConfigMap`s and Secrets behind volumes.
    pub volume_refresh: Duration,
    /// How long containers outlive the last agent before their supervisor stops them.
    pub orphan_grace: Duration,
    /// What happens to the processes when the agent is told to stop.
    pub on_shutdown: OnShutdown,
    /// Give every pod a network namespace of its own; needs root and the `ip` program.
    pub isolate: bool,
}

impl NodeConfig {
    /// The usual settings for a node whose processes are started through `program`, which knows the subcommands
    /// `engine` and `node-shim`.
    pub fn new(
        name: impl Into<String>,
        state_dir: impl Into<PathBuf>,
        program: impl Into<String>,
    ) -> Self {
        let program = program.into();
        Self {
            name: name.into(),
            state_dir: state_dir.into(),
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            labels: BTreeMap::new(),
            capacity: Amount {
                pods: PODS,
                ..machine::installed()
            },
            addresses: AddressRange::default(),
            claim_unassigned: false,
            engine: EngineMode::Auto,
            engine_program: vec![program.clone(), "engine".to_owned()],
            shim_program: vec![program, "node-shim".to_owned()],
            base_env: BTreeMap::new(),
            backoff: BackoffRules::default(),
            log_bytes: LOG_BYTES,
            log_files: LOG_FILES,
            heartbeat: Duration::from_secs(10),
            status_interval: Duration::from_mins(5),
            volume_refresh: Duration::from_secs(30),
            orphan_grace: Duration::from_mins(10),
            on_shutdown: OnShutdown::LeaveRunning,
            isolate: false,
        }
    }
}
