//! The processes of one container: start, signal, collect.

use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpid,
};

use super::logfile::LogFile;
use super::protocol::{Ended, Known, Launch};
use super::record::{self, Record};
use super::{ENV_CONTAINER_ID, ENV_NODE_DIR, procfs};

/// A container and what the supervisor holds of it.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) record: Record,
    pub(crate) pidfd: OwnedFd,
    pub(crate) output: Option<PipeReader>,
    pid: Pid,
    log: LogFile,
    out_of_memory_kills: u64,
    killed: bool,
}

impl Child {
    /// Starts a process and writes it down.
    pub(crate) fn start(dir: &Path, launch: &Launch) -> io::Result<Self> {
        let log = LogFile::open(&launch.log, launch.log_bytes, launch.log_files)?;
        let (output, input) = io::pipe()?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let out_of_memory_kills = procfs::out_of_memory_kills();
        let process = command(dir, launch)
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .process_group(0)
            .spawn()?;
        let number = i32::try_from(process.id()).unwrap_or_default();
        let pid =
            Pid::from_raw(number).ok_or_else(|| io::Error::other("a process without a number"))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let known = Known {
            id: launch.id.clone(),
            pid: number,
            started_at: Timestamp::now(),
            ended: None,
        };
        let start_ticks = procfs::stat(number).map_or(0, |stat| stat.start_ticks);
        let record = Record {
            known,
            start_ticks,
            boot: procfs::boot_id(),
        };
        record::write(dir, &record)?;
        Ok(Self {
            record,
            pidfd,
            output: Some(output),
            pid,
            log,
            out_of_memory_kills,
            killed: false,
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.record.known.ended.is_some()
    }

    /// Signals the whole group. The leader is not collected yet, so its number cannot name another process.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if !self.has_ended() {
            self.killed |= signal == Signal::KILL;
            // A group that is gone needs no signal.
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Copies what has been written, and closes the log once every writer is gone.
    pub(crate) fn drain(&mut self) {
        let mut buffer = [0_u8; 16 * 1024];
        while let Some(output) = self.output.as_mut() {
            match output.read(&mut buffer) {
                Ok(0) => self.close(),
                Ok(count) => self.keep(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.close(),
            }
        }
    }

    /// Collects the process if it has ended, after killing what is left of its group.
    pub(crate) fn collect(&mut self, dir: &Path) -> Option<Known> {
        let killed = self.killed;
        self.signal(Signal::KILL);
        self.killed = killed;
        let (_, status) = waitpid(Some(self.pid), WaitOptions::NOHANG)
            .ok()
            .flatten()?;
        self.drain();
        let signal = status.terminating_signal();
        let code = status
            .exit_status()
            .or(signal.map(|signal| 128 + signal))
            .unwrap_or_default();
        let shot = signal == Some(Signal::KILL.as_raw()) && !self.killed;
        let ended = Ended {
            code,
            signal,
            out_of_memory: shot && procfs::out_of_memory_kills() > self.out_of_memory_kills,
            start_error: std::fs::read_to_string(record::start_error_path(
                dir,
                &self.record.known.id,
            ))
            .ok(),
            at: Timestamp::now(),
        };
        self.record.known.ended = Some(ended);
        if let Err(error) = record::write(dir, &self.record) {
            super::server::note(&format!("cannot record an exit: {error}"));
        }
        Some(self.record.known.clone())
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Err(error) = self.log.write(bytes, Timestamp::now()) {
            // A full disk must not stop the container: its output is lost instead.
            super::server::note(&format!("cannot write a log: {error}"));
        }
    }

    fn close(&mut self) {
        self.output = None;
        if let Err(error) = self.log.finish(Timestamp::now()) {
            super::server::note(&format!("cannot finish a log: {error}"));
        }
    }
}

fn command(dir: &Path, launch: &Launch) -> Command {
    // Not a path: the program may have been replaced since, and a newer one need not speak our verbs.
    let mut command = Command::new("/proc/self/exe");
    command.args(super::server::verbs());
    command
        .arg("exec")
        .arg(std::process::id().to_string())
        .arg(record::start_error_path(dir, &launch.id))
        .arg(launch.netns.as_deref().unwrap_or(Path::new("")))
        .args(&launch.argv)
        .env_clear()
        .envs(&launch.env)
        .env(ENV_NODE_DIR, dir)
        .env(ENV_CONTAINER_ID, &launch.id)
        .current_dir(&launch.cwd);
    command
}
