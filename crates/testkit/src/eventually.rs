//! Waiting for a condition with a deadline, instead of sleeping for a guessed time.

use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pause between two looks at the condition.
const PAUSE: Duration = Duration::from_millis(50);

/// A condition did not come true in time.
#[derive(Debug)]
pub struct TimedOut {
    what: String,
    deadline: Duration,
    last: String,
}

impl Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} did not come true within {:?}; last seen: {}",
            self.what, self.deadline, self.last
        )
    }
}

impl std::error::Error for TimedOut {}

/// Asks `condition` until it gives `Some`, at most for `deadline`.
///
/// `what` names the condition in the error. The condition is asked at least once and once more at the end.
pub async fn eventually<T, F, Fut>(
    what: &str,
    deadline: Duration,
    mut condition: F,
) -> Result<T, TimedOut>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    eventually_ok(what, deadline, || {
        let asked = condition();
        async move { asked.await.ok_or("nothing") }
    })
    .await
}

/// Asks `condition` until it gives `Ok`, at most for `deadline`; the last error is part of the report.
pub async fn eventually_ok<T, E, F, Fut>(
    what: &str,
    deadline: Duration,
    mut condition: F,
) -> Result<T, TimedOut>
where
    E: Debug,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + deadline;
    loop {
        let late = Instant::now() >= end;
        match condition().await {
            Ok(value) => return Ok(value),
            Err(last) if late => {
                return Err(TimedOut {
                    what: what.to_owned(),
                    deadline,
                    last: format!("{last:?}"),
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests;
