//! Settings of the circuit breaker.

use std::time::Duration;

/// When an endpoint is ejected, for how long, and how it comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthConfig {
    /// Failures in a row that eject. 0 = never.
    pub consecutive_failures: u32,
    /// Failed connections in a row that eject. 0 = never.
    pub consecutive_connect_failures: u32,
    /// Length of the sliding window of outcomes.
    pub window: Duration,
    /// Outcomes within the window below which their rate says nothing.
    pub min_volume: u32,
    /// Share of failures within the window that ejects, above 0 and up to 1. Anything above 1 = never.
    pub error_rate: f64,
    /// A connection that took longer counts as a failure of the rate, whatever was answered on it.
    pub slow_connect: Duration,
    /// Length of the first ejection; each further one is twice as long.
    pub base_ejection: Duration,
    /// No ejection is longer.
    pub max_ejection: Duration,
    /// Time without an ejection, counted from full trust, after which the next one is again the first.
    pub forgive_after: Duration,
    /// How long a probe may go unreported before the next request may try.
    pub probe_limit: Duration,
    /// How long the share of requests grows after a return. Zero = all at once.
    pub slow_start: Duration,
    /// Share of requests right after a return, above 0 and up to 1.
    pub first_share: f64,
    /// Largest share of a server's endpoints that is left out, 0 to 1. The last one is never left out.
    pub max_ejected_share: f64,
}

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field}: {value} is not {range}")]
pub struct ConfigFault {
    /// The setting.
    pub field: &'static str,
    /// What it is.
    pub value: f64,
    /// What it may be.
    pub range: &'static str,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            consecutive_connect_failures: 3,
            window: Duration::from_secs(10),
            min_volume: 20,
            error_rate: 0.5,
            slow_connect: Duration::from_secs(1),
            base_ejection: Duration::from_secs(5),
            max_ejection: Duration::from_mins(2),
            forgive_after: Duration::from_mins(1),
            probe_limit: Duration::from_secs(30),
            slow_start: Duration::from_secs(15),
            first_share: 0.1,
            max_ejected_share: 0.5,
        }
    }
}

impl HealthConfig {
    /// A configuration that never ejects anything.
    pub fn off() -> Self {
        Self {
            consecutive_failures: 0,
            consecutive_connect_failures: 0,
            error_rate: f64::INFINITY,
            ..Self::default()
        }
    }

    /// Everything that is out of range. The policy works with any values; these would not mean what they say.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let checks = [
            (
                "maxEjectedShare",
                self.max_ejected_share,
                (0.0..=1.0).contains(&self.max_ejected_share),
                "between 0 and 1",
            ),
            (
                "firstShare",
                self.first_share,
                self.first_share > 0.0 && self.first_share <= 1.0,
                "above 0 and at most 1",
            ),
            (
                "errorRate",
                self.error_rate,
                self.error_rate > 0.0,
                "above 0",
            ),
            (
                "window",
                self.window.as_secs_f64(),
                self.window >= Duration::from_millis(2),
                "at least 2 ms",
            ),
            (
                "baseEjection",
                self.base_ejection.as_secs_f64(),
                !self.base_ejection.is_zero() && self.base_ejection <= self.max_ejection,
                "above 0 and at most maxEjection",
            ),
        ];
        checks
            .into_iter()
            .filter(|(_, _, holds, _)| !holds)
            .map(|(field, value, _, range)| ConfigFault {
                field,
                value,
                range,
            })
            .collect()
    }

    /// Length of the `level`-th ejection in a row, from 1.
    pub(crate) fn ejection(&self, level: u32) -> Duration {
        let factor = 1_u32.checked_shl(level.saturating_sub(1).min(31));
        self.base_ejection
            .saturating_mul(factor.unwrap_or(u32::MAX))
            .min(self.max_ejection)
    }
}
