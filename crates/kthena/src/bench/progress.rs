//! A bar on the terminal.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// A bar on the terminal; nothing where there is none.
pub(super) struct Progress {
    total: f64,
    done: Mutex<f64>,
    shown: bool,
}

impl Progress {
    pub(super) fn new(tasks: usize) -> Self {
        let total = u32::try_from(tasks).map_or(f64::INFINITY, f64::from);
        Self {
            total,
            done: Mutex::new(0.0),
            shown: std::io::stderr().is_terminal(),
        }
    }

    /// Adds a share of one task.
    pub(super) fn add(&self, share: f64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += share;
        if self.shown {
            let percent = (*done / self.total * 100.0).min(100.0);
            let filled = "#".repeat((0..40).filter(|at| f64::from(*at) * 2.5 < percent).count());
            say(&format!("\r[{filled:<40}] {percent:3.0} %"));
        }
    }

    pub(super) fn finish(&self) {
        if self.shown {
            say("\r\x1b[K");
        }
    }
}

pub(super) fn say(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
