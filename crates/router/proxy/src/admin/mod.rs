//! What the debug listener answers: looks inside the router, changes nothing.
//!
//! # Invariants
//!
//! - Nothing here dispatches a request or writes to what requests share.
//! - No credential is shown: neither header values nor Secrets.
//!
//! # Where to go next
//!
//! `explain` for the way a request would take. Another page is another arm of [`answer`].

mod explain;

use fastrand::Rng;

use crate::connection::{Received, Reply};
use crate::shared::Shared;

/// Answers a request that was received whole.
pub(crate) fn answer(shared: &Shared, received: &Received, rng: &mut Rng) -> Reply {
    match (received.method(), received.path()) {
        ("POST", "/debug/explain") => explain::answer(shared, received.body(), rng),
        (_, "/debug/explain") => {
            Reply::text(405, "405 method not allowed").with("allow", "POST".to_owned())
        }
        _ => Reply::text(404, "404 page not found"),
    }
}
