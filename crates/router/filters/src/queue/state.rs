//! One queue as a state machine: what happened goes in, who must be woken comes out.
//!
//! All of it runs under the queue's lock, so there is one order of events: a request is waiting, then decided, once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::counts::QueueCounts;
use super::gate::{Engines, Gate, Opening};
use super::order::{Boost, LAST, Order, Place, Priority};
use super::sessions::{SessionKey, Sessions};
use super::{QueueEnd, Refused};
use crate::Now;
use crate::settings::{FairnessConfig, QueueConfig};
use crate::tokens::Consumption;

/// Current consumption of a user of the queue's model.
pub(crate) type Consumed<'c> = &'c dyn Fn(&str) -> Consumption;
/// Whoever must be woken once the lock is released.
pub(crate) type Woken = Vec<Waker>;

/// A request that wants to wait.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) user: &'a str,
    pub(crate) session: Option<&'a SessionKey>,
    /// Weighted tokens the request itself will consume, as far as that is known.
    pub(crate) cost: f64,
}

#[derive(Debug)]
pub(crate) struct State {
    config: Arc<QueueConfig>,
    order: Order,
    /// By arrival, and so by deadline.
    waiting: BTreeMap<u64, Waiter>,
    /// Decided, but not yet told.
    decided: HashMap<u64, Result<(), QueueEnd>>,
    gate: Gate,
    sessions: Option<Sessions>,
    counts: QueueCounts,
    arrivals: u64,
    /// Second in which all priorities were last recalculated: between two of them they only change by what is
    /// recorded, which is told.
    recalculated: u64,
    last_wait: Duration,
    closed: bool,
}

#[derive(Debug)]
struct Waiter {
    user: Arc<str>,
    place: Place,
    since: Instant,
    waker: Option<Waker>,
}

impl State {
    pub(crate) fn new(config: Arc<QueueConfig>) -> Self {
        Self {
            order: Order::default(),
            waiting: BTreeMap::new(),
            decided: HashMap::new(),
            gate: Gate::new(&config),
            sessions: config
                .boost
                .as_ref()
                .map(|boost| Sessions::new(boost.max_sessions)),
            counts: QueueCounts::default(),
            arrivals: 0,
            recalculated: 0,
            last_wait: Duration::ZERO,
            closed: false,
            config,
        }
    }

    /// Lets a request wait. It may be admitted by the next [`Self::settle`].
    pub(crate) fn push(
        &mut self,
        arrival: &Arrival<'_>,
        now: Now,
        consumed: Consumed<'_>,
    ) -> Result<u64, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if self.waiting.len() >= self.config.max_waiting.get() {
            self.counts.refused += 1;
            return Err(Refused::Full {
                retry_after: self.last_wait.max(Duration::from_secs(1)),
            });
        }
        let completed = arrival
            .session
            .and_then(|session| self.sessions.as_ref()?.completed(session));
        self.arrivals += 1;
        let place = Place {
            boost: completed.map_or(Boost::None, |at| Boost::Recent(Reverse(at))),
            arrival: self.arrivals,
        };
        let (user, priority, cost) = match &self.config.fairness {
            Some(fairness) => (
                Arc::from(arrival.user),
                priority(fairness, arrival.user, consumed),
                if fairness.request_cost {
                    arrival.cost
                } else {
                    0.0
                },
            ),
            // Users play no role: all stand in one line.
            None => (Arc::from(""), Priority(0.0), 0.0),
        };
        self.order.push(&user, place, priority, cost);
        let waiter = Waiter {
            user,
            place,
            since: now.monotonic,
            waker: None,
        };
        self.waiting.insert(self.arrivals, waiter);
        Ok(self.arrivals)
    }

    /// Asks after a request; `waker` is told when it is decided.
    pub(crate) fn poll(&mut self, id: u64, cx: &Context<'_>) -> Poll<Result<(), QueueEnd>> {
        if let Some(decision) = self.decided.remove(&id) {
            return Poll::Ready(decision);
        }
        match self.waiting.get_mut(&id) {
            Some(waiter) => {
                waiter.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            // Cannot be: whoever asks has neither been told nor left.
            None => Poll::Ready(Err(QueueEnd::Closed)),
        }
    }

    /// The request's client does not wait any longer.
    pub(crate) fn abandon(&mut self, id: u64, now: Now) {
        match self.decided.remove(&id) {
            Some(Ok(())) => self.release(now),
            Some(Err(_)) => {}
            None => {
                if self.leave(id, now.monotonic).is_some() {
                    self.counts.cancelled += 1;
                }
            }
        }
    }

    /// An admitted request has ended.
    pub(crate) fn release(&mut self, now: Now) {
        self.gate.release(now.monotonic);
    }

    /// A request of the session was answered.
    pub(crate) fn complete(&mut self, session: &SessionKey, now: Now) {
        if let Some(sessions) = &mut self.sessions {
            sessions.complete(session, now.monotonic);
        }
    }

    pub(crate) fn set_engines(&mut self, engines: Engines) -> bool {
        self.gate.set_engines(engines)
    }

    /// The user has consumed more.
    pub(crate) fn charge(&mut self, user: &str, consumed: Consumed<'_>) {
        let Some(fairness) = &self.config.fairness else {
            return;
        };
        let overtaken = self
            .order
            .set_priority(user, priority(fairness, user, consumed));
        self.counts.refreshed += u64::from(overtaken && fairness.refresh_retries > 0);
    }

    /// Ends every wait; nobody may wait any more.
    pub(crate) fn close(&mut self) -> Woken {
        self.closed = true;
        let mut woken = Woken::new();
        for (id, waiter) in std::mem::take(&mut self.waiting) {
            self.decided.insert(id, Err(QueueEnd::Closed));
            woken.extend(waiter.waker);
        }
        self.order = Order::default();
        woken
    }

    /// Ends waits whose time is up and admits whoever may go.
    pub(crate) fn settle(&mut self, now: Now, consumed: Consumed<'_>) -> Woken {
        let mut woken = Woken::new();
        while let Some(id) = self.overdue(now.monotonic) {
            let waiter = self.leave(id, now.monotonic);
            self.counts.cancelled += 1;
            self.decided.insert(id, Err(QueueEnd::TimedOut));
            woken.extend(waiter.and_then(|waiter| waiter.waker));
        }
        while !self.order.is_empty() && self.gate.opening(now.monotonic) == Opening::Open {
            // The permit is there; only now is it decided whose it is.
            self.recalculate(now, consumed);
            let Some((_, place)) = self.order.pop() else {
                break;
            };
            let Some(waiter) = self.waiting.remove(&place.arrival) else {
                continue;
            };
            self.gate.admit(now.monotonic);
            self.counts.admitted += 1;
            self.last_wait = now.monotonic.saturating_duration_since(waiter.since);
            self.counts.waits.observe(self.last_wait);
            self.decided.insert(place.arrival, Ok(()));
            woken.extend(waiter.waker);
        }
        woken
    }

    /// When [`Self::settle`] has something to do even if nothing happens until then.
    pub(crate) fn alarm(&self, now: Instant) -> Option<Instant> {
        let first = self.waiting.values().next()?;
        let deadline = self.config.timeout().map(|timeout| first.since + timeout);
        let opening = match self.gate.opening(now) {
            Opening::At(at) => Some(at),
            Opening::Open | Opening::Later => None,
        };
        deadline.into_iter().chain(opening).min()
    }

    /// Users who wait; nothing without fairness, where all stand in one line.
    pub(crate) fn waiting_users(&self) -> Vec<Arc<str>> {
        let users = self.order.users().into_iter();
        users.filter(|user| !user.is_empty()).collect()
    }

    pub(crate) fn counts(&self) -> QueueCounts {
        QueueCounts {
            waiting: self.waiting.len() as u64,
            in_flight: self.gate.in_flight() as u64,
            ..self.counts
        }
    }

    fn overdue(&self, now: Instant) -> Option<u64> {
        let timeout = self.config.timeout()?;
        let (id, first) = self.waiting.first_key_value()?;
        (now.saturating_duration_since(first.since) >= timeout).then_some(*id)
    }

    /// Takes a request out before it was admitted.
    fn leave(&mut self, id: u64, now: Instant) -> Option<Waiter> {
        let waiter = self.waiting.remove(&id)?;
        self.order.remove(&waiter.user, waiter.place);
        let wait = now.saturating_duration_since(waiter.since);
        self.counts.waits.observe(wait);
        Some(waiter)
    }

    /// Consumption falls out of the window by whole seconds, so once a second all priorities are looked at.
    fn recalculate(&mut self, now: Now, consumed: Consumed<'_>) {
        let Some(fairness) = &self.config.fairness else {
            return;
        };
        if self.recalculated == now.unix {
            return;
        }
        self.recalculated = now.unix;
        let mut overtaken = false;
        for user in self.order.users() {
            let current = priority(fairness, &user, consumed);
            overtaken |= self.order.set_priority(&user, current);
        }
        self.counts.rebuilt += u64::from(overtaken && fairness.refresh_retries > 0);
    }
}

/// What orders users: less goes first; who is not known goes last.
#[expect(
    clippy::cast_precision_loss,
    reason = "an order of users needs no more than 53 bits"
)]
fn priority(fairness: &FairnessConfig, user: &str, consumed: Consumed<'_>) -> Priority {
    if user.is_empty() {
        return LAST;
    }
    let consumed = consumed(user);
    let tokens = fairness.token_priority * consumed.tokens();
    let requests = fairness.request_priority * consumed.requests as f64;
    Priority((tokens + requests).min(f64::MAX.next_down()))
}
