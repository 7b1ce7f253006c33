//! The router's queue in virtual time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use kthena_router_filters::queue::{Ask, Engines, Permit, Queues, Waiting};
use kthena_router_filters::{Clock, Now};

use crate::workload::Queueing;

/// The one model there is.
const MODEL: &str = "model";
/// Where windows begin: any moment well after 1970.
const EPOCH: u64 = 1_000_000_000;

/// The production queue, with who waits in it.
pub(crate) struct Line {
    queues: Queues,
    /// Nanoseconds of virtual time.
    clock: Arc<AtomicU64>,
    begun: Instant,
    waiting: Vec<(u32, Duration, Pin<Box<Waiting>>)>,
}

/// Somebody's wait is over.
pub(crate) struct Turned {
    pub(crate) session: u32,
    pub(crate) waited: Duration,
    /// `None` = it was not let in.
    pub(crate) permit: Option<Permit>,
}

impl Line {
    pub(crate) fn new(Queueing { config, begun }: Queueing) -> Self {
        let nanos = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&nanos);
        let clock: Clock = Arc::new(move || {
            let passed = Duration::from_nanos(shown.load(Ordering::Relaxed));
            Now {
                monotonic: begun + passed,
                unix: EPOCH + passed.as_secs(),
            }
        });
        let queues = Queues::new(config, clock);
        queues.set_models([MODEL]);
        Self {
            queues,
            clock: nanos,
            begun,
            waiting: Vec::new(),
        }
    }

    /// A request of `user` begins to wait; false if it is refused.
    pub(crate) fn enter(&mut self, session: u32, user: u32, tokens: u32, now: Duration) -> bool {
        self.set(now);
        let name = user_name(user);
        let ask = Ask {
            model: MODEL,
            user: &name,
            input_tokens: tokens.into(),
            ..Ask::default()
        };
        let Ok(waiting) = self.queues.enter(&ask, Engines::default) else {
            return false;
        };
        self.waiting.push((session, now, Box::pin(waiting)));
        true
    }

    /// Those whose wait is over by `now`, and when to ask again at the latest.
    pub(crate) fn turned(&mut self, now: Duration) -> (Vec<Turned>, Option<Duration>) {
        self.set(now);
        let due = self.queues.run_due();
        let mut context = Context::from_waker(Waker::noop());
        let mut turned = Vec::new();
        self.waiting.retain_mut(|(session, since, waiting)| {
            let Poll::Ready(end) = waiting.as_mut().poll(&mut context) else {
                return true;
            };
            turned.push(Turned {
                session: *session,
                waited: now.saturating_sub(*since),
                permit: end.ok(),
            });
            false
        });
        let due = due.map(|at| at.saturating_duration_since(self.begun));
        (turned, due)
    }

    /// What an answer consumed.
    pub(crate) fn consumed(&self, user: u32, input: u32, output: u32, now: Duration) {
        self.set(now);
        // A user with a name and a model with a queue cannot be faulty.
        let _ = self
            .queues
            .record(&user_name(user), MODEL, input.into(), output.into());
    }

    fn set(&self, now: Duration) {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.clock.store(nanos, Ordering::Relaxed);
    }
}

pub(crate) fn user_name(user: u32) -> String {
    format!("user-{user}")
}
