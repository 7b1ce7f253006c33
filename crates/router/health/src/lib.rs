//! Which endpoints live traffic shows to be failing, and when they are trusted again.
//!
//! An [`EndpointHealth`] sits beside the counters of each endpoint (`endpoint.beside(EndpointHealth::default)`) and lives
//! as long as they do; one [`HealthPolicy`] holds the settings and takes every decision. A request touches it three
//! times:
//!
//! ```
//! # use kthena_router_health::*;
//! # use std::time::{Duration, Instant};
//! # let origin = Instant::now();
//! let policy = HealthPolicy::new(HealthConfig::default(), origin);
//! let pods = [EndpointHealth::default(), EndpointHealth::default()];
//! let mut rng = fastrand::Rng::with_seed(7);
//! let now = origin + Duration::from_secs(1);
//!
//! // 1. Before placing: who may take it. `All` costs one atomic load and is the answer while nobody is in trouble.
//! assert_eq!(policy.admit(pods.iter(), now, &mut rng), Admission::All);
//! // 2. Before each attempt. `None` means: take the next candidate; the pod of this one is leaving.
//! let ticket = policy.begin(&pods[0], now).unwrap();
//! // 3. When the attempt is known to have failed, or the head of its answer is there; once more if the answer breaks.
//! let change = policy.report(&pods[0], ticket, Outcome::Answered { connect: None }, now);
//! assert_eq!(change, None);
//! ```
//!
//! The way of an endpoint: *trusted* → (too many failures) → *ejected* for a while that doubles each time → *probing*,
//! where one request at a time may try → (an answer) → *returning*, with a share of requests that grows → *trusted*.
//!
//! # Invariants
//!
//! - While every endpoint is trusted no lock is taken, and success writes nothing but a counter of its window.
//! - [`HealthPolicy::admit`] never leaves out more than the configured share of a server's endpoints for failing, nor
//!   its last one, whatever was reported and however the list of endpoints changes. Retired ones do not count.
//! - Outcomes of attempts that began before an endpoint was ejected neither shorten nor prolong the ejection.
//! - A probe whose outcome is never reported blocks the next one for [`HealthConfig::probe_limit`] at most.
//!
//! # Where to go next
//!
//! [`config`] for the settings, [`policy`] for who may take a request, `phase` for the way described above.

pub mod config;
pub mod endpoint;
mod phase;
pub mod policy;
mod window;

pub use config::{ConfigFault, HealthConfig};
pub use endpoint::EndpointHealth;
pub use policy::{Admission, HealthPolicy};

use std::time::Duration;

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The head of an answer arrived, and it is not a [`Failure`]. Includes the 4xx of an engine.
    Answered {
        /// How long the connection took, if one was made for this attempt.
        connect: Option<Duration>,
    },
    /// The engine answered 429: alive, but it says nothing about the rate of failures.
    Busy,
    /// The attempt failed.
    Failed(Failure),
    /// The client left, or the router gave up for reasons of its own: nothing was learnt.
    Abandoned,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made.
    Connect,
    /// The connection broke before the head of an answer was complete, or what came was no HTTP.
    Closed,
    /// No answer within the time limit.
    Timeout,
    /// The answer was 502, 503 or 504.
    Unavailable,
    /// The answer was another 5xx. Counts towards the rate only: one bad request must not look like a dead engine.
    Internal,
    /// The answer broke off after its head.
    Broken,
}

/// Why an endpoint was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Failures in a row.
    Consecutive,
    /// Failed connections in a row.
    Connections,
    /// The share of failures within the window.
    Rate,
    /// The request that probed it failed.
    Probe,
}

/// A turn in an endpoint's way, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It takes no requests from now on.
    Ejected {
        /// Until it may be probed.
        period: Duration,
        /// What was too much.
        cause: Cause,
    },
    /// A probe was answered: it takes a growing share of requests.
    Returning,
}

/// How an endpoint stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// It takes requests.
    Trusted,
    /// It takes none.
    Ejected {
        /// Until it may be probed.
        left: Duration,
    },
    /// One request at a time may try it.
    Probing {
        /// One is trying it now.
        busy: bool,
    },
    /// It takes requests with this probability, above 0 and below 1.
    Returning {
        /// Share of the requests it would otherwise take.
        weight: f64,
    },
    /// Its pod is leaving: it finishes what it has and takes nothing new.
    Retired,
}

/// Permission for one attempt. Outcomes are reported with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the outcome is reported with the ticket"]
pub struct Ticket {
    /// Which trusted or probing period of the endpoint the attempt belongs to.
    generation: u64,
}
