//! Decides what goes wrong, on demand: for tests and demonstrations of what surrounds an engine.
//!
//! Rates are met evenly and without chance: at 0.25 every fourth request is hit.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What goes wrong, as it is written in JSON. The default is nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Wait before every answer, milliseconds.
    pub delay_ms: u64,
    /// Share of requests answered with `error_status`.
    pub error_rate: f64,
    /// Status of those answers.
    pub error_status: u16,
    /// Share of requests that never get an answer.
    pub hang_rate: f64,
    /// Share of streams that stop without end after `after_chunks`.
    pub stall_rate: f64,
    /// Share of streams whose connection breaks after `after_chunks`.
    pub reset_rate: f64,
    /// Chunks a stalled or broken stream brings.
    pub after_chunks: u32,
    /// Answer health checks with 503.
    pub unhealthy: bool,
    /// Die for lack of memory at the next request.
    pub out_of_memory: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            delay_ms: 0,
            error_rate: 0.0,
            error_status: 500,
            hang_rate: 0.0,
            stall_rate: 0.0,
            reset_rate: 0.0,
            after_chunks: 2,
            unhealthy: false,
            out_of_memory: false,
        }
    }
}

impl Faults {
    /// The first member that has no meaning, if any.
    pub fn fault(&self) -> Option<&'static str> {
        let rates = [
            ("error_rate", self.error_rate),
            ("hang_rate", self.hang_rate),
            ("stall_rate", self.stall_rate),
            ("reset_rate", self.reset_rate),
        ];
        let bad = rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(rate));
        match bad {
            Some((name, _)) => Some(name),
            None if !(400..600).contains(&self.error_status) => Some("error_status"),
            None => None,
        }
    }
}

/// How one request fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// Wait this long first.
    pub delay: Duration,
    /// What then happens.
    pub verdict: Verdict,
    /// What happens to its stream.
    pub stream: StreamFate,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// It is served.
    #[default]
    Serve,
    /// It is answered with this status.
    Refuse(u16),
    /// It is never answered.
    Hang,
    /// The engine dies.
    Die,
}

/// What happens to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamFate {
    /// It runs to its end.
    #[default]
    Whole,
    /// It brings nothing more after so many chunks.
    Stall(u32),
    /// Its connection breaks after so many chunks.
    Reset(u32),
}

/// Deals out fates.
#[derive(Debug, Default)]
pub struct FaultDealer {
    faults: Faults,
    /// What of each rate is not yet dealt.
    owed: HashMap<&'static str, f64>,
}

impl FaultDealer {
    /// Deals out `faults`.
    pub fn new(faults: Faults) -> Self {
        Self {
            faults,
            owed: HashMap::new(),
        }
    }

    /// What goes wrong at present.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The fate of the next request.
    pub fn deal(&mut self) -> Fate {
        let faults = self.faults.clone();
        let verdict = if faults.out_of_memory {
            Verdict::Die
        } else if self.due("hang", faults.hang_rate) {
            Verdict::Hang
        } else if self.due("error", faults.error_rate) {
            Verdict::Refuse(faults.error_status)
        } else {
            Verdict::Serve
        };
        let stream = if self.due("reset", faults.reset_rate) {
            StreamFate::Reset(faults.after_chunks)
        } else if self.due("stall", faults.stall_rate) {
            StreamFate::Stall(faults.after_chunks)
        } else {
            StreamFate::Whole
        };
        Fate {
            delay: Duration::from_millis(faults.delay_ms),
            verdict,
            stream,
        }
    }

    fn due(&mut self, name: &'static str, rate: f64) -> bool {
        if rate <= 0.0 {
            return false;
        }
        let owed = self.owed.entry(name).or_default();
        *owed += rate;
        // A hair below one, so that ten tenths are a whole.
        let due = *owed > 1.0 - 1e-9;
        if due {
            *owed -= 1.0;
        }
        due
    }
}

#[cfg(test)]
mod tests;
