//! The last step before a container's own program: this process becomes it.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Exit code of a container whose program could not be started.
pub(crate) const START_ERROR: u8 = 128;

/// `PARENT ERROR-FILE NETNS PROGRAM ARG…`; an empty NETNS keeps the one of the host.
pub(crate) fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(parent), Some(error_file), Some(netns), Some(program)) =
        (args.next(), args.next(), args.next(), args.next())
    else {
        return ExitCode::from(2);
    };
    let problem = match prepare(&parent, Path::new(&netns)) {
        Ok(()) => {
            let error = Command::new(&program).args(args).exec();
            format!("cannot start {}: {error}", program.to_string_lossy())
        }
        Err(problem) => problem,
    };
    // The container ends either way; without the file it is an exit with code 128.
    drop(std::fs::write(&error_file, problem));
    ExitCode::from(START_ERROR)
}

fn prepare(parent: &OsString, netns: &Path) -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("cannot bind its life to the supervisor's: {error}"))?;
    // The supervisor may have died before the line above.
    let alive = getppid()
        .is_some_and(|pid| parent.to_str() == Some(pid.as_raw_nonzero().to_string().as_str()));
    if !alive {
        return Err("the supervisor is gone".to_owned());
    }
    if !netns.as_os_str().is_empty() {
        let namespace = File::open(netns)
            .map_err(|error| format!("cannot open its network namespace: {error}"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("cannot enter its network namespace: {error}"))?;
    }
    Ok(())
}
