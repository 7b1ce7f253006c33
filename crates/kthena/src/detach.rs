//! `kthena local up -d`: the same program again, in the background.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kthena_local::layout::Layout;

/// Time between two looks at what the background program has said.
const PERIOD: Duration = Duration::from_millis(50);

/// Leaves the terminal: a hang-up of it is none of a background program's business.
pub(crate) fn leave_terminal() -> Result<()> {
    rustix::process::setsid().context("leaving the terminal")?;
    Ok(())
}

/// Starts this program again in the background, shows what it says until everything is up, and leaves it running.
pub(crate) fn up(layout: &Layout) -> Result<()> {
    // Taking the lock once tells an early and plain answer if another program owns the folder.
    drop(layout.lock()?);
    let path = layout.log();
    let log = File::options()
        .append(true)
        .create(true)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    let mut said = File::open(&path).with_context(|| path.display().to_string())?;
    said.seek(SeekFrom::End(0))?;
    let mut child = spawn(log)?;
    loop {
        show(&mut said)?;
        if let Some(status) = child.try_wait()? {
            show(&mut said)?;
            bail!(
                "it did not come up ({status}); its log is {}",
                path.display()
            );
        }
        if layout
            .running()?
            .is_some_and(|running| running.ready && running.pid == child.id())
        {
            show(&mut said)?;
            return Ok(());
        }
        std::thread::sleep(PERIOD);
    }
}

fn spawn(log: File) -> Result<Child> {
    let program = std::env::current_exe().context("path of this program")?;
    Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--background")
        .stdin(Stdio::inherit())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting in the background")
}

/// Copies what the log has gained.
fn show(said: &mut File) -> Result<()> {
    let mut text = Vec::new();
    said.read_to_end(&mut text)?;
    std::io::stdout().write_all(&text)?;
    Ok(())
}
