//! What can go wrong with the node as a whole. Troubles of single pods are events and waiting reasons of those pods.

use std::io;
use std::path::PathBuf;

/// Why the node cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Processes can be looked after only on Linux.
    #[error("pods run as processes on Linux only: this machine has no /proc")]
    NotLinux,
    /// Another agent works on the folder.
    #[error("another node agent runs on {dir}")]
    Locked {
        /// State folder.
        dir: PathBuf,
    },
    /// A file or folder of the node cannot be used.
    #[error("cannot use {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The supervisor could not be started or does not answer.
    #[error("the supervisor of {dir} does not answer: {reason}")]
    Supervisor {
        /// State folder.
        dir: PathBuf,
        /// What was tried last.
        reason: String,
    },
    /// The Node object could not be written.
    #[error("cannot register node {name}")]
    Register {
        /// Node name.
        name: String,
        /// The server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The pods of the node could not be listed.
    #[error("cannot list the pods of node {name}")]
    Pods {
        /// Node name.
        name: String,
        /// The server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Pods that lost their processes are still shown as ready.
    #[error("cannot correct the status of the pods of node {name} in time")]
    Stale {
        /// Node name.
        name: String,
    },
    /// Pods cannot have networks of their own.
    #[error("cannot isolate pods: {reason}")]
    Isolation {
        /// What failed.
        reason: String,
    },
}
