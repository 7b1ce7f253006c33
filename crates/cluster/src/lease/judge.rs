//! Who holds a lease, judged by when it was last seen to change.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use tokio::time::Instant;

/// The lease as last seen, and since when.
#[derive(Debug, Default)]
pub(super) struct Observation {
    last: Option<(LeaseSpec, Instant)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is no lease.
    Create,
    /// Nobody holds it any more; it has changed hands that often, this time included.
    Take { transitions: i32 },
    /// It is ours.
    Renew,
    /// It is somebody else's.
    Wait,
}

impl Observation {
    /// Notes the lease and answers since when it has been like this.
    pub(super) fn note(&mut self, spec: Option<&LeaseSpec>, now: Instant) -> Instant {
        let spec = spec.cloned().unwrap_or_default();
        match &self.last {
            Some((last, since)) if *last == spec => *since,
            _ => {
                self.last = Some((spec, now));
                now
            }
        }
    }
}

pub(super) fn judge(
    spec: Option<&LeaseSpec>,
    seen: &mut Observation,
    identity: &str,
    now: Instant,
) -> Verdict {
    let since = seen.note(spec, now);
    let Some(spec) = spec else {
        return Verdict::Take { transitions: 0 };
    };
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder == identity {
        return Verdict::Renew;
    }
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .unwrap_or(0);
    let is_over = now >= since + Duration::from_secs(seconds);
    if holder.is_empty() || is_over {
        return Verdict::Take {
            transitions: spec.lease_transitions.unwrap_or(0).saturating_add(1),
        };
    }
    Verdict::Wait
}
