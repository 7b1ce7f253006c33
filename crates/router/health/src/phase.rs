//! Where an endpoint stands on its way from trust to ejection and back.
//!
//! Only endpoints in trouble have a phase that matters, so a lock around it is never on the way of healthy traffic.
//! Time does not move phases on its own: whoever looks first after a deadline does.

use std::time::{Duration, Instant};

use crate::config::HealthConfig;
use crate::{Cause, Change, Standing};

/// The part of an endpoint's health that changes rarely.
#[derive(Debug, Default)]
pub(crate) struct Course {
    phase: Phase,
    /// Ejections in a row, 0 when there was none or it is forgiven.
    level: u32,
    /// When it was last fully trusted again.
    trusted_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    Trusted,
    Ejected {
        until: Instant,
    },
    Probing {
        taken_until: Option<Instant>,
    },
    Returning {
        since: Instant,
    },
}

impl Course {
    /// Applies deadlines that have passed. Returns whether the endpoint became fully trusted by that.
    pub(crate) fn advance(&mut self, config: &HealthConfig, now: Instant) -> bool {
        match self.phase {
            Phase::Ejected { until } if now >= until => {
                self.phase = Phase::Probing { taken_until: None };
                false
            }
            Phase::Probing {
                taken_until: Some(until),
            } if now >= until => {
                self.phase = Phase::Probing { taken_until: None };
                false
            }
            Phase::Returning { since } if passed(since, now) >= config.slow_start => {
                self.phase = Phase::Trusted;
                self.trusted_since = Some(since + config.slow_start);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn standing(&self, config: &HealthConfig, now: Instant) -> Standing {
        match self.phase {
            Phase::Trusted => Standing::Trusted,
            Phase::Ejected { until } => Standing::Ejected {
                left: until.saturating_duration_since(now),
            },
            Phase::Probing { taken_until } => Standing::Probing {
                busy: taken_until.is_some(),
            },
            Phase::Returning { since } => Standing::Returning {
                weight: weight(config, passed(since, now)),
            },
        }
    }

    /// Notes that somebody probes the endpoint, if that is what it waits for.
    pub(crate) fn take_probe(&mut self, config: &HealthConfig, now: Instant) {
        if let Phase::Probing { taken_until } = &mut self.phase {
            taken_until.get_or_insert(now + config.probe_limit);
        }
    }

    /// The probe taught nothing.
    pub(crate) fn give_probe_back(&mut self) {
        if let Phase::Probing { taken_until } = &mut self.phase {
            *taken_until = None;
        }
    }

    pub(crate) fn is_probing(&self) -> bool {
        matches!(self.phase, Phase::Probing { .. })
    }

    pub(crate) fn is_trusted(&self) -> bool {
        matches!(self.phase, Phase::Trusted)
    }

    pub(crate) fn is_ejected(&self) -> bool {
        matches!(self.phase, Phase::Ejected { .. })
    }

    /// A probe was answered.
    pub(crate) fn come_back(&mut self, now: Instant) -> Change {
        self.phase = Phase::Returning { since: now };
        Change::Returning
    }

    /// Lets the endpoint take no requests for a while.
    pub(crate) fn eject(&mut self, config: &HealthConfig, cause: Cause, now: Instant) -> Change {
        let forgiven = self.is_trusted()
            && self
                .trusted_since
                .is_some_and(|since| passed(since, now) >= config.forgive_after);
        self.level = if forgiven {
            1
        } else {
            self.level.saturating_add(1)
        };
        let period = config.ejection(self.level);
        self.phase = Phase::Ejected {
            until: now + period,
        };
        Change::Ejected { period, cause }
    }
}

fn passed(since: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(since)
}

/// Grows in a straight line from the first share to all.
fn weight(config: &HealthConfig, passed: Duration) -> f64 {
    let grown = passed.as_secs_f64() / config.slow_start.as_secs_f64().max(f64::MIN_POSITIVE);
    let first = config.first_share.clamp(0.0, 1.0);
    (first + (1.0 - first) * grown).clamp(first, 1.0)
}
