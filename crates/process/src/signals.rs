//! SIGINT and SIGTERM.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit status of a program that was ended by SIGINT: 128 + 2.
const INTERRUPTED: i32 = 130;
/// Exit status of a program that was ended by SIGTERM: 128 + 15.
const TERMINATED: i32 = 143;

/// Cancels `token` at the first SIGINT or SIGTERM and ends the program at the second.
///
/// # Errors
///
/// If the handlers cannot be installed.
pub fn cancel_on_signals(token: CancellationToken) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            let status = tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            };
            if token.is_cancelled() {
                std::process::exit(status);
            }
            tracing::info!(status, "stopping; a second signal stops at once");
            token.cancel();
        }
    });
    Ok(())
}
