//! The process that owns the containers, so that the agent may be restarted or killed without losing one.
//!
//! One supervisor per state folder is the parent of every container of the node. It is single-threaded, knows
//! neither Kubernetes nor an async runtime, and stays below a few megabytes whatever the number of containers; a
//! shim per container would cost the relocated pages of the whole program each time. It starts processes, copies
//! their output into rotated logs, keeps their exit codes, and kills what a container leaves behind.
//!
//! # Nothing is left behind
//!
//! - It is a child subreaper: a daemon that a container detaches becomes its child and dies with the container.
//! - When the supervisor itself is killed, the kernel kills its containers (parent death signal).
//! - When no agent has been connected for `orphan_grace`, it stops all containers and ends. So an agent that is
//!   killed and never restarted leaves nothing for longer than that.
//! - [`reap::reap`] kills what all of this may have missed: every process that carries the state folder in its
//!   environment or belongs to a recorded process group, checked by start time, never by number alone.
//!
//! # Where to go next
//!
//! `protocol` is what agent and supervisor say to each other, `server` the loop, `exec` the last step before the
//! container's own program, `logfile` the logs.

mod children;
mod exec;
pub mod logfile;
pub mod procfs;
pub mod protocol;
pub mod reap;
pub mod record;
mod server;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Environment variable of every process under a supervisor: the state folder.
pub const ENV_NODE_DIR: &str = "KTHENA_NODE_DIR";
/// Environment variable of every process of a container: the identity of that life of the container.
pub const ENV_CONTAINER_ID: &str = "KTHENA_CONTAINER_ID";
/// Environment variable of probes and hooks, which are the agent's children and no containers.
pub(crate) const ENV_COMMAND: &str = "KTHENA_NODE_COMMAND";
/// File name of the socket in the state folder.
pub(crate) const SOCKET: &str = "supervisor.sock";
/// File name of the lock that a running supervisor holds.
pub(crate) const LOCK: &str = "supervisor.lock";

/// The hidden subcommand behind every process the node starts; `args` are what follows its name.
///
/// `supervise DIR ORPHAN-GRACE-SECONDS` owns the containers of a state folder, `exec` becomes a container, and
/// `pause` does nothing until it is told to stop, `nothing` ends at once.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let verb = args.next();
    match verb.as_ref().and_then(|verb| verb.to_str()) {
        Some("supervise") => supervise(args),
        Some("exec") => exec::run(args),
        Some("pause") => pause(),
        Some("nothing") => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}

fn supervise(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let dir = args.next().map(PathBuf::from);
    let grace = args.next().and_then(|grace| grace.to_str()?.parse().ok());
    let (Some(dir), Some(grace)) = (dir, grace) else {
        return ExitCode::from(2);
    };
    match server::run(&dir, Duration::from_secs(grace)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            server::note(&format!("supervisor ended: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn pause() -> ExitCode {
    loop {
        std::thread::park();
    }
}
