//! When the next request may go.
//!
//! All gates must be open for a single admission; they are asked again before the next one.

use std::time::{Duration, Instant};

use crate::settings::{Pace, QueueConfig};

/// The engines that serve a model, as their last measurements say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Engines {
    /// Pods that have the model loaded.
    pub pods: u32,
    /// Those of them in whose engine nothing waits.
    pub idle: u32,
}

/// The gates of one queue and what they count.
#[derive(Debug)]
pub(crate) struct Gate {
    pace: Option<Pace>,
    /// Requests in flight per pod; `None` = engines do not matter.
    per_pod: Option<u32>,
    grace: Duration,
    engines: Engines,
    in_flight: usize,
    /// When the next admission is due, in rate mode; `None` = any time.
    due: Option<Instant>,
    /// A request ended; its session's next one may arrive until then.
    grace_until: Option<Instant>,
}

/// What the gates say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Open,
    /// Closed until this moment at least.
    At(Instant),
    /// Closed until a request ends or engines are measured.
    Later,
}

impl Gate {
    pub(crate) fn new(config: &QueueConfig) -> Self {
        let boost = config.boost.as_ref();
        Self {
            pace: config.fairness.as_ref().map(|fairness| fairness.pace),
            per_pod: boost.map(|boost| boost.in_flight_per_pod.get()),
            grace: boost.map_or(Duration::ZERO, |boost| boost.grace),
            engines: Engines::default(),
            in_flight: 0,
            due: None,
            grace_until: None,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes over a measurement. `true` if it differs from the last.
    pub(crate) fn set_engines(&mut self, engines: Engines) -> bool {
        std::mem::replace(&mut self.engines, engines) != engines
    }

    /// Whether one more may go at `now`.
    pub(crate) fn opening(&self, now: Instant) -> Opening {
        let permits = match self.pace {
            Some(Pace::Permits(permits)) => permits.get(),
            _ => usize::MAX,
        };
        let room = self.per_pod.map_or(usize::MAX, |per_pod| {
            (per_pod as usize).saturating_mul(self.engines.pods.max(1) as usize)
        });
        let busy = self.per_pod.is_some() && self.engines.pods > 0 && self.engines.idle == 0;
        if self.in_flight >= permits.min(room) || busy {
            return Opening::Later;
        }
        match self.due.max(self.grace_until) {
            Some(at) if at > now => Opening::At(at),
            _ => Opening::Open,
        }
    }

    /// One goes.
    pub(crate) fn admit(&mut self, now: Instant) {
        self.in_flight += 1;
        self.grace_until = None;
        if let Some(Pace::Rate(per_second)) = self.pace {
            let interval = Duration::from_secs(1) / per_second.get();
            // A timer that is a little late does not slow the rate; longer pauses are not made up for.
            let base = self.due.filter(|due| now < *due + interval);
            self.due = Some(base.unwrap_or(now) + interval);
        }
    }

    /// One has ended.
    pub(crate) fn release(&mut self, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let pending = self.grace_until.is_some_and(|until| until > now);
        if !pending && !self.grace.is_zero() {
            self.grace_until = Some(now + self.grace);
        }
    }
}

#[cfg(test)]
mod tests;
