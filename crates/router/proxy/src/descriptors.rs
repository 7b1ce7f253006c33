//! How many descriptors there are, and what happens when they run out.
//!
//! A stream costs two descriptors: one to the client, one to the engine. New clients are refused while some are
//! left, so that those already here can still be served.

use std::fs::File;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept back for answering clients that are refused, as a share of all.
const SHARE: u64 = 32;
const FEWEST: u64 = 16;
const MOST: u64 = 512;

/// Raises the soft limit on open descriptors to the hard one.
///
/// # Errors
///
/// If the system refuses, which leaves the limit as it was.
pub fn raise_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// From which descriptor on a new client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threshold(u64);

impl Threshold {
    /// The threshold under the limit of this moment.
    pub(crate) fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::under(limit)
    }

    fn under(limit: u64) -> Self {
        let reserve = (limit / SHARE).clamp(FEWEST, MOST);
        Self(limit.saturating_sub(reserve))
    }

    /// The system hands out the lowest descriptor that is free, so its number says how many are in use at least.
    pub(crate) fn is_reached_by(self, descriptor: i32) -> bool {
        u64::try_from(descriptor).is_ok_and(|descriptor| descriptor >= self.0)
    }
}

/// A descriptor that is given up when there is no other, so that a connection can be accepted and closed.
#[derive(Debug)]
pub(crate) struct Spare(Option<File>);

impl Spare {
    pub(crate) fn new() -> Self {
        Self(open())
    }

    /// Frees the descriptor; `false` if there was none.
    pub(crate) fn release(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Takes a descriptor again.
    pub(crate) fn refill(&mut self) {
        if self.0.is_none() {
            self.0 = open();
        }
    }
}

fn open() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether an operation failed because no descriptor was left.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    // EMFILE and ENFILE have no kind of their own.
    matches!(error.raw_os_error(), Some(24 | 23))
}

#[cfg(test)]
mod tests;
