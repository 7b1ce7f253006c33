//! The processes of one control plane and the keeper that ends them whatever happens to the test program.
//!
//! The keeper is a small shell process that reads process ids from a pipe. The pipe closes when the test
//! program drops the control plane, exits or is killed; the keeper then kills the ids it has read and removes
//! the folder. It ignores the signals of a terminal, so that Ctrl-C cannot end it first.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::ControlPlaneError;
use super::binaries::{Binaries, Program};

/// The keeper; its first argument is the folder to remove.
const KEEPER: &str = "trap '' INT TERM HUP
while read -r id; do ids=\"$ids $id\"; done
for id in $ids; do kill -KILL \"$id\" 2>/dev/null; done
for pause in 0 0.1 0.3 1 3; do sleep $pause; rm -rf -- \"$1\" 2>/dev/null && break; done";

/// How much of a log is shown when a program ended early, in bytes.
const LOG_END: usize = 4096;

/// Running programs, their keeper and their folder.
#[derive(Debug)]
pub(super) struct Family {
    folder: tempfile::TempDir,
    children: Vec<(Program, Child)>,
    /// Programs that were ended on purpose.
    ended: Vec<Child>,
    keeper: Child,
    /// Open as long as the programs shall run.
    lifeline: Option<ChildStdin>,
}

impl Family {
    /// Makes the folder and starts the keeper.
    pub(super) fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("kthena-control-plane-")
            .tempdir()?;
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let lifeline = keeper.stdin.take();
        Ok(Self {
            folder,
            children: Vec::new(),
            ended: Vec::new(),
            keeper,
            lifeline,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts `program` with `flags`; its output goes to `<program>.log` in the folder.
    pub(super) fn spawn(
        &mut self,
        binaries: &Binaries,
        program: Program,
        flags: &[String],
    ) -> Result<(), ControlPlaneError> {
        let io = |action| move |source| ControlPlaneError::Io { action, source };
        let mut command = binaries
            .command(program)
            .ok_or_else(|| ControlPlaneError::Io {
                action: "start a program that was not looked for",
                source: io::ErrorKind::NotFound.into(),
            })?;
        let log = File::create(self.log_path(program)).map_err(io("make a log file"))?;
        let errors = log.try_clone().map_err(io("make a log file"))?;
        let child = command
            .args(flags)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(io("start a program of the control plane"))?;
        let id = child.id();
        self.children.push((program, child));
        if let Some(lifeline) = &mut self.lifeline {
            writeln!(lifeline, "{id}").map_err(io("tell the keeper a process id"))?;
        }
        Ok(())
    }

    /// Ends a program at once and waits until it is gone.
    pub(super) fn end(&mut self, program: Program) -> Result<(), ControlPlaneError> {
        let io = |source| ControlPlaneError::Io {
            action: "end a program of the control plane",
            source,
        };
        let Some(index) = self.children.iter().position(|(one, _)| *one == program) else {
            return Ok(());
        };
        let (_, mut child) = self.children.swap_remove(index);
        child.kill().map_err(io)?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // Not reaped, see below: the keeper still has its id.
        let gone = id.map(|id| {
            waitid(
                WaitId::Pid(id),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            )
        });
        self.ended.push(child);
        gone.transpose().map_err(|error| io(error.into()))?;
        Ok(())
    }

    /// Fails if a program has ended.
    pub(super) fn check(&mut self) -> Result<(), ControlPlaneError> {
        for (program, child) in &mut self.children {
            if let Ok(Some(_)) = child.try_wait() {
                let program = *program;
                let log = fs::read(self.folder.path().join(log_name(program))).unwrap_or_default();
                let end = &log[log.len().saturating_sub(LOG_END)..];
                let log = String::from_utf8_lossy(end).into_owned();
                return Err(ControlPlaneError::EndedEarly {
                    program: program.name(),
                    log,
                });
            }
        }
        Ok(())
    }

    fn log_path(&self, program: Program) -> std::path::PathBuf {
        self.folder.path().join(log_name(program))
    }
}

fn log_name(program: Program) -> String {
    format!("{}.log", program.name())
}

impl Drop for Family {
    fn drop(&mut self) {
        // The children are not reaped before the keeper has killed them, so no id can have been given anew.
        drop(self.lifeline.take());
        let running = self.children.iter_mut().map(|(_, child)| child);
        for child in running.chain(&mut self.ended) {
            let _ended = child.wait();
        }
        let _ended = self.keeper.wait();
    }
}
