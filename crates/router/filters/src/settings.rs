//! Settings of the queues: as environment variables write them, then as the router runs with them.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::values::{Empty, Reader, duration};

/// Which queues there are. Without a strategy requests go straight to scheduling.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueConfig {
    /// Orders users by what they consumed. `None` = off.
    pub fairness: Option<FairnessConfig>,
    /// Lets requests of recent sessions go first. `None` = off.
    pub boost: Option<BoostConfig>,
    /// Most requests that wait for one model; one more is refused.
    pub max_waiting: NonZeroUsize,
}

/// Settings of the order between users.
#[derive(Debug, Clone, PartialEq)]
pub struct FairnessConfig {
    /// How far back consumption counts, 1 minute to 1 hour.
    pub window: Duration,
    /// Weight of a prompt token, from 0.
    pub input_weight: f64,
    /// Weight of a generated token, from 0.
    pub output_weight: f64,
    /// Weight of consumed tokens in a user's priority, from 0.
    pub token_priority: f64,
    /// Weight of the number of requests in a user's priority, from 0.
    pub request_priority: f64,
    /// How fast or how many.
    pub pace: Pace,
    /// Longest wait.
    pub timeout: Duration,
    /// Above 0, changes of the order while requests wait are counted.
    pub refresh_retries: u32,
    /// Kept for the variable's sake: the order is always current, whatever the length of the queue.
    pub rebuild_threshold: NonZeroU32,
    /// Adds what a request itself will cost to the priority it waits with.
    pub request_cost: bool,
}

/// What bounds admissions under fairness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many admissions a second, one by one.
    Rate(NonZeroU32),
    /// So many admitted and unfinished at once.
    Permits(NonZeroUsize),
}

/// Settings of the preference for recent sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoostConfig {
    /// Request header that carries the session id.
    pub header: String,
    /// Sessions remembered per model.
    pub max_sessions: NonZeroUsize,
    /// Requests in flight per pod that serves the model.
    pub in_flight_per_pod: NonZeroU32,
    /// Wait after a request ended, in which the next of its session may arrive. Zero = none.
    pub grace: Duration,
    /// Longest wait; `None` = as long as the client stays.
    pub timeout: Option<Duration>,
}

const FAIRNESS_TIMEOUT: Duration = Duration::from_mins(1);
const BOOST_TIMEOUT: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_mins(5);
const WINDOW_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_mins(1)..=Duration::from_hours(1);
const MAX_WAITING: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
const MAX_QPS: NonZeroU32 = NonZeroU32::new(100).unwrap();
const REBUILD_THRESHOLD: NonZeroU32 = NonZeroU32::new(64).unwrap();
const MAX_SESSIONS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
const IN_FLIGHT_PER_POD: NonZeroU32 = NonZeroU32::new(16).unwrap();

impl QueueConfig {
    /// No queues.
    pub fn off() -> Self {
        Self {
            fairness: None,
            boost: None,
            max_waiting: MAX_WAITING,
        }
    }

    /// Reads the environment through `get`. The second value says what could not be understood; defaults stand in for
    /// it.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut reader = Reader::new(get);
        let fairness = reader
            .switch("ENABLE_FAIRNESS_SCHEDULING")
            .then(|| FairnessConfig::read(&mut reader));
        let boost = reader
            .switch("ENABLE_SESSION_BOOST")
            .then(|| BoostConfig::read(&mut reader));
        let max_waiting = reader.value(
            "KTHENA_QUEUE_MAX_WAITING",
            Empty::Unset,
            MAX_WAITING,
            "a whole number above 0",
            |text| text.parse().ok(),
        );
        let config = Self {
            fairness,
            boost,
            max_waiting,
        };
        (config, reader.warnings)
    }

    /// Whether requests queue at all.
    pub fn is_on(&self) -> bool {
        self.fairness.is_some() || self.boost.is_some()
    }

    /// Longest wait in a queue: the shorter of the two when both strategies are on.
    pub fn timeout(&self) -> Option<Duration> {
        let fairness = self.fairness.as_ref().map(|fairness| fairness.timeout);
        let boost = self.boost.as_ref().and_then(|boost| boost.timeout);
        fairness.into_iter().chain(boost).min()
    }
}

impl Default for FairnessConfig {
    fn default() -> Self {
        Self {
            window: WINDOW,
            input_weight: 1.0,
            output_weight: 2.0,
            token_priority: 1.0,
            request_priority: 0.0,
            pace: Pace::Rate(MAX_QPS),
            timeout: FAIRNESS_TIMEOUT,
            refresh_retries: 0,
            rebuild_threshold: REBUILD_THRESHOLD,
            request_cost: false,
        }
    }
}

impl FairnessConfig {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let whole = "a whole number above 0";
        let permits = reader.value(
            "FAIRNESS_MAX_CONCURRENT",
            Empty::Unset,
            0,
            "a whole number from 0",
            |text| text.parse().ok(),
        );
        let rate = reader.value(
            "FAIRNESS_MAX_QPS",
            Empty::Unset,
            MAX_QPS,
            whole,
            positive_u32,
        );
        let mut config = Self {
            window: reader.duration(
                "FAIRNESS_WINDOW_SIZE",
                Empty::Unset,
                default.window,
                "a duration from 1m to 1h",
                |window| WINDOW_RANGE.contains(window),
            ),
            input_weight: reader.weight(
                "FAIRNESS_INPUT_TOKEN_WEIGHT",
                Empty::Unset,
                default.input_weight,
            ),
            output_weight: reader.weight(
                "FAIRNESS_OUTPUT_TOKEN_WEIGHT",
                Empty::Unset,
                default.output_weight,
            ),
            token_priority: reader.weight(
                "FAIRNESS_PRIORITY_TOKEN_WEIGHT",
                Empty::Invalid,
                default.token_priority,
            ),
            request_priority: reader.weight(
                "FAIRNESS_PRIORITY_REQUEST_NUM_WEIGHT",
                Empty::Invalid,
                default.request_priority,
            ),
            pace: NonZeroUsize::new(permits).map_or(Pace::Rate(rate), Pace::Permits),
            timeout: reader.duration(
                "FAIRNESS_QUEUE_TIMEOUT",
                Empty::Invalid,
                default.timeout,
                "a duration above 0",
                |timeout| !timeout.is_zero(),
            ),
            refresh_retries: reader.value(
                "FAIRNESS_PRIORITY_REFRESH_RETRIES",
                Empty::Unset,
                default.refresh_retries,
                "a whole number from 0",
                |text| text.parse().ok(),
            ),
            rebuild_threshold: reader.value(
                "FAIRNESS_REBUILD_THRESHOLD",
                Empty::Unset,
                REBUILD_THRESHOLD,
                whole,
                positive_u32,
            ),
            request_cost: reader.switch("KTHENA_FAIRNESS_REQUEST_COST"),
        };
        if config.token_priority == 0.0 && config.request_priority == 0.0 {
            // An order by nothing would be one by arrival, which is what fairness is there to prevent.
            config.token_priority = default.token_priority;
        }
        config
    }
}

impl Default for BoostConfig {
    fn default() -> Self {
        Self {
            header: "X-Session-ID".to_owned(),
            max_sessions: MAX_SESSIONS,
            in_flight_per_pod: IN_FLIGHT_PER_POD,
            grace: Duration::ZERO,
            timeout: Some(BOOST_TIMEOUT),
        }
    }
}

impl BoostConfig {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let whole = "a whole number above 0";
        Self {
            header: reader.text("SESSION_BOOST_HEADER", &default.header),
            max_sessions: reader.value(
                "SESSION_BOOST_MAX_SESSIONS",
                Empty::Unset,
                MAX_SESSIONS,
                whole,
                |text| text.parse().ok(),
            ),
            in_flight_per_pod: reader.value(
                "SESSION_BOOST_INFLIGHT_PER_POD",
                Empty::Unset,
                IN_FLIGHT_PER_POD,
                whole,
                positive_u32,
            ),
            grace: reader.duration(
                "SESSION_BOOST_GRACE_PERIOD",
                Empty::Unset,
                default.grace,
                "a duration from 0",
                |_| true,
            ),
            timeout: reader.value(
                "SESSION_BOOST_TIMEOUT",
                Empty::Invalid,
                default.timeout,
                "a duration",
                |text| {
                    let timeout = duration(text)?.to_std();
                    Some(timeout.filter(|timeout| !timeout.is_zero()))
                },
            ),
        }
    }
}

fn positive_u32(text: &str) -> Option<NonZeroU32> {
    text.parse().ok()
}

#[cfg(test)]
mod tests;
