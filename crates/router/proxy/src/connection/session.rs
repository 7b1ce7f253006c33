//! The session a request belongs to, and the pod it stays on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kthena_router_filters::sticky::{Binding, RequestParts, SessionKey};
use kthena_router_pipeline::{BodyFacts, Matched};
use kthena_router_view::{Members, ServerView};

use super::received::Received;
use crate::shared::Shared;

/// For how long a session stays bound unless its route says otherwise.
const TTL: u64 = 10_800;

/// The session of a request, and what it was bound to when the request was placed.
pub(super) struct Session {
    key: SessionKey,
    ttl: Duration,
    seen: Option<Binding>,
}

/// A session whose request is being answered.
pub(super) struct Settling {
    session: Session,
    answered: Binding,
}

struct Parts<'r> {
    received: &'r Received,
    user: Option<&'r str>,
}

impl RequestParts for Parts<'_> {
    fn header<'s>(&'s self, name: &str) -> Box<dyn Iterator<Item = &'s [u8]> + 's> {
        let fields = self.received.fields();
        let own: Vec<_> = fields
            .filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
            .collect();
        Box::new(own.into_iter())
    }

    fn query(&self) -> &[u8] {
        let query = self.received.target().split_once('?');
        query.map_or(b"", |(_, query)| query.as_bytes())
    }

    fn body_user(&self) -> Option<&str> {
        self.user
    }
}

impl Session {
    /// The session of a request that met this route, if the route has sessions and the request names one.
    pub(super) fn of(
        shared: &Shared,
        matched: &Matched<'_>,
        received: &Received,
        facts: &BodyFacts,
        now: Instant,
    ) -> Option<Self> {
        let sticky = matched.sticky?;
        let user = facts.user.as_deref();
        let key = SessionKey::of(&matched.route, sticky, &Parts { received, user })?;
        let seconds = sticky.session_affinity_seconds;
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Some(Self {
            key,
            ttl: Duration::from_secs(seconds.filter(|seconds| *seconds > 0).unwrap_or(TTL)),
            seen: shared.sticky.get(key, now),
        })
    }

    pub(super) fn bound(&self) -> Option<&Binding> {
        self.seen.as_ref()
    }

    /// `pod` of `server` answers.
    pub(super) fn answered(self, server: &ServerView, pod: &Arc<str>) -> Settling {
        let group = match &server.members {
            Members::Aggregated(_) => None,
            Members::Disaggregated(roles) => {
                let mut decode = roles.decode().iter();
                decode
                    .position(|candidate| candidate.endpoint.pod().name == *pod)
                    .and_then(|at| roles.group_of(at))
                    .map(|group| Arc::from(group.name.as_str()))
            }
        };
        Settling {
            session: self,
            answered: Binding {
                server: Arc::clone(&server.key),
                pod: Arc::clone(pod),
                group,
            },
        }
    }
}

impl Settling {
    /// The answer was relayed whole: the session stays where it was answered.
    pub(super) fn settle(self, shared: &Shared) {
        let Session { key, ttl, seen } = self.session;
        let now = Instant::now();
        shared
            .sticky
            .settle(key, seen.as_ref(), self.answered, ttl, now);
    }
}
