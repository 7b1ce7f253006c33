//! The queue of one model: the state machine behind a lock, and the handles that cannot forget it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::alarm::Alarm;
use super::counts::QueueCounts;
use super::gate::Engines;
use super::sessions::SessionKey;
use super::state::{Arrival, State, Woken};
use super::{QueueEnd, Refused};
use crate::settings::QueueConfig;
use crate::tokens::{Consumption, TokenTracker};
use crate::{Clock, Now};

/// What all queues share.
pub(super) struct Commons {
    pub(super) config: Arc<QueueConfig>,
    pub(super) clock: Clock,
    pub(super) alarm: Alarm,
    /// Present with fairness.
    pub(super) tokens: Option<Mutex<TokenTracker>>,
}

/// The queue of one model.
pub(super) struct Queue {
    model: Arc<str>,
    commons: Arc<Commons>,
    state: Mutex<State>,
}

/// A request that waits. Resolves when it may go or its wait has ended; dropping it gives up.
#[must_use = "the request waits only while this lives"]
pub struct Waiting {
    queue: Arc<Queue>,
    session: Option<SessionKey>,
    /// `None` once the outcome was told.
    id: Option<u64>,
}

/// Leave to be in flight. Given back when it drops, on every path.
#[must_use = "the request is in flight only while the permit lives"]
pub struct Permit {
    queue: Arc<Queue>,
    session: Option<SessionKey>,
}

impl Commons {
    pub(super) fn now(&self) -> Now {
        (self.clock)()
    }

    fn consumption(&self, user: &str, model: &str, now: Now) -> Consumption {
        let tokens = self.tokens.as_ref().map(lock);
        tokens
            .map(|tokens| tokens.consumption(user, model, now.unix))
            .unwrap_or_default()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    pub(super) fn new(model: Arc<str>, commons: Arc<Commons>, measured: Engines) -> Self {
        let mut state = State::new(Arc::clone(&commons.config));
        state.set_engines(measured);
        Self {
            model,
            commons,
            state: Mutex::new(state),
        }
    }

    pub(super) fn enter(
        self: &Arc<Self>,
        user: &str,
        session: Option<SessionKey>,
        cost: f64,
    ) -> Result<Waiting, Refused> {
        let arrival = Arrival {
            user,
            session: session.as_ref(),
            cost,
        };
        let id = self.change(|state, now| {
            state.push(&arrival, now, &|user| {
                self.commons.consumption(user, &self.model, now)
            })
        })?;
        Ok(Waiting {
            queue: Arc::clone(self),
            session,
            id: Some(id),
        })
    }

    pub(super) fn set_engines(&self, engines: Engines) {
        self.change(|state, _| state.set_engines(engines));
    }

    pub(super) fn charge(&self, user: &str) {
        self.change(|state, now| {
            state.charge(user, &|user| {
                self.commons.consumption(user, &self.model, now)
            });
        });
    }

    /// Does what has become due.
    pub(super) fn settle(&self) {
        self.change(|_, _| ());
    }

    pub(super) fn close(&self) {
        let woken = lock(&self.state).close();
        wake(woken);
    }

    pub(super) fn waiting_users(&self) -> Vec<Arc<str>> {
        lock(&self.state).waiting_users()
    }

    pub(super) fn counts(&self) -> QueueCounts {
        lock(&self.state).counts()
    }

    /// Changes the state, lets go whoever may, sets the alarm, and wakes them once the lock is released.
    fn change<T>(&self, change: impl FnOnce(&mut State, Now) -> T) -> T {
        let now = self.commons.now();
        let consumed = |user: &str| self.commons.consumption(user, &self.model, now);
        let mut state = lock(&self.state);
        let result = change(&mut state, now);
        let woken = state.settle(now, &consumed);
        let alarm = state.alarm(now.monotonic);
        drop(state);
        if let Some(at) = alarm {
            self.commons.alarm.needed(at);
        }
        wake(woken);
        result
    }
}

fn wake(woken: Woken) {
    for waker in woken {
        waker.wake();
    }
}

impl Future for Waiting {
    type Output = Result<Permit, QueueEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(id) = self.id else {
            return Poll::Ready(Err(QueueEnd::Closed));
        };
        let decision = lock(&self.queue.state).poll(id, cx);
        decision.map(|decision| {
            self.id = None;
            decision.map(|()| Permit {
                queue: Arc::clone(&self.queue),
                session: self.session.take(),
            })
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.queue.change(|state, now| state.abandon(id, now));
        }
    }
}

impl Permit {
    /// The request was answered without an error: its session's next one may go first.
    pub fn complete(self) {
        if let Some(session) = &self.session {
            let now = self.queue.commons.now();
            lock(&self.queue.state).complete(session, now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.queue.change(State::release);
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("queue", &self.queue)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
