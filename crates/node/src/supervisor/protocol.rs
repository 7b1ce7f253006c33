//! What agent and supervisor say to each other: one JSON value per line over a Unix socket.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Raised when the two no longer understand each other; an agent replaces a supervisor of another version.
pub const VERSION: u32 = 1;

/// A process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Identity of this life of the container. A second launch with the same identity starts nothing.
    pub id: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Where output goes.
    pub log: PathBuf,
    /// Size at which a log file is rotated, bytes.
    pub log_bytes: u64,
    /// How many files are kept, the current one included.
    pub log_files: u32,
    /// Network namespace to join.
    pub netns: Option<PathBuf>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Exit code; 128 plus the signal when a signal ended it.
    pub code: i32,
    /// That signal.
    pub signal: Option<i32>,
    /// The kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// Why its program could not be started.
    pub start_error: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// A container that the supervisor knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Identity given at launch.
    pub id: String,
    /// Process number, also the number of its process group.
    pub pid: i32,
    /// When it was started.
    pub started_at: Timestamp,
    /// Its end, if it has ended.
    pub ended: Option<Ended>,
}

/// What an agent asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Which version do you speak?
    Hello,
    /// Start a process.
    Start(Box<Launch>),
    /// Ask the process group of a container to end.
    Term {
        /// Identity.
        id: String,
    },
    /// Kill a container and all its descendants.
    Kill {
        /// Identity.
        id: String,
    },
    /// Drop an ended container.
    Forget {
        /// Identity.
        id: String,
    },
    /// Name all containers.
    List,
    /// Kill all containers and end.
    Shutdown,
}

/// A numbered request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Comes back with the reply.
    pub seq: u64,
    /// What is asked.
    pub request: Request,
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To a hello.
    Version {
        /// [`VERSION`] of the supervisor.
        version: u32,
    },
    /// To a start, also of a container that was started before.
    Started(Known),
    /// Done, or nothing to do.
    Done,
    /// To a list.
    Containers(Vec<Known>),
    /// It could not be done.
    Failed {
        /// Why.
        message: String,
    },
}

/// A line from the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The answer to the call of that number.
    Reply {
        /// Number of the call.
        seq: u64,
        /// Its answer.
        reply: Reply,
    },
    /// A container has ended.
    Ended(Known),
}
