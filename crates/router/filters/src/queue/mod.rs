//! Who waits before a request is routed, and who goes next.
//!
//! One queue per model, made by its first request and closed when no route names the model any more. A request is
//! [entered](Queues::enter), which gives a future; the future gives a [`Permit`], which is held until the request has
//! ended. With fairness users are ordered by what they consumed within a window; with session boost requests of
//! sessions that were served a moment ago go first; with both, users are ordered by consumption and each user's own
//! requests by session, so that nobody gets more by opening sessions.
//!
//! Besides arrivals and endings, two things move a queue: [`Queues::set_engines`] after every measurement of the
//! engines, and time. For time a task of the router's does:
//!
//! ```text
//! loop {
//!     let due = queues.run_due();
//!     select! { () = sleep_until(due) => {}, () = queues.rung() => {} }
//! }
//! ```
//!
//! # Invariants
//!
//! - Admission and abandonment are decided under one lock: a request is either admitted, and then its permit is given
//!   back by whoever drops it, or it never takes one.
//! - A permit is free before it is decided who gets it, so the best of all who wait at that moment gets it.
//! - A queue in which somebody waits is looked at again at the latest when the first of them runs out of time.
//!
//! # Where to go next
//!
//! `state` for the events of one queue, `order` for who is first, `gate` for when.

mod alarm;
mod counts;
mod gate;
mod one;
mod order;
mod sessions;
mod state;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

pub use counts::{QueueCounts, WAIT_BOUNDS, Waits};
pub use gate::Engines;
pub use one::{Permit, Waiting};
pub use sessions::LONGEST_SESSION_ID;

use crate::Clock;
use crate::settings::QueueConfig;
use crate::tokens::{Consumption, TokenTracker, UsageFault};
use one::{Commons, Queue, lock};
use sessions::SessionKey;

/// A request that is to wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// The client's name for the model; adapters have queues of their own.
    pub model: &'a str,
    /// Who asks; empty = not known.
    pub user: &'a str,
    /// The client's id of its session, if it gave one.
    pub session: Option<&'a str>,
    /// Estimate of the prompt's tokens.
    pub input_tokens: u64,
    /// Tokens the client allows for the answer; 0 = not said.
    pub max_output_tokens: u64,
}

/// Why a request may not even wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No route names the model; no queue is made for it.
    #[error("no route names the model")]
    UnknownModel,
    /// The queue was closed at this moment.
    #[error("request queue is closed")]
    Closed,
    /// As many wait as may.
    #[error("too many requests wait for the model")]
    Full {
        /// How long the last one that was admitted had waited, at least 1 s.
        retry_after: Duration,
    },
}

/// Why a wait ended without admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueEnd {
    /// It was too long.
    #[error("the wait was longer than allowed")]
    TimedOut,
    /// No route names the model any more.
    #[error("the last route of the model was removed")]
    Closed,
}

/// The queues of a router.
pub struct Queues {
    commons: Arc<Commons>,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    known: HashSet<Arc<str>>,
    queues: HashMap<Arc<str>, Arc<Queue>>,
}

impl Queues {
    /// No queues yet, for models that [`Self::set_models`] will name.
    pub fn new(config: QueueConfig, clock: Clock) -> Self {
        let tokens = config
            .fairness
            .as_ref()
            .map(|fairness| Mutex::new(TokenTracker::new(fairness)));
        Self {
            commons: Arc::new(Commons {
                config: Arc::new(config),
                clock,
                alarm: alarm::Alarm::default(),
                tokens,
            }),
            table: RwLock::default(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &QueueConfig {
        &self.commons.config
    }

    /// Takes over which models and adapters routes name. Queues of all others are closed; to be called before requests
    /// can see the routes.
    pub fn set_models<'m>(&self, models: impl IntoIterator<Item = &'m str>) {
        let known: HashSet<Arc<str>> = models.into_iter().map(Arc::from).collect();
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut closed = Vec::new();
        table.queues.retain(|model, queue| {
            let keep = known.contains(model);
            if !keep {
                closed.push(Arc::clone(queue));
            }
            keep
        });
        table.known = known;
        drop(table);
        for queue in closed {
            queue.close();
        }
    }

    /// Lets a request wait for its turn. The first of a model is asked what was measured of the model's engines so far.
    pub fn enter(
        &self,
        ask: &Ask<'_>,
        measured: impl FnOnce() -> Engines,
    ) -> Result<Waiting, Refused> {
        let queue = self.queue(ask.model, measured)?;
        let session = ask
            .session
            .filter(|_| self.config().boost.is_some())
            .and_then(|id| SessionKey::new(ask.user, id));
        queue.enter(ask.user, session, self.cost(ask))
    }

    /// Models that have a queue; what is measured of their engines is told with [`Self::set_engines`].
    pub fn models(&self) -> Vec<Arc<str>> {
        self.each().into_iter().map(|(model, _)| model).collect()
    }

    /// Takes over what was measured of a model's engines and admits whoever may go by it.
    pub fn set_engines(&self, model: &str, engines: Engines) {
        if let Some(queue) = self.known_queue(model) {
            queue.set_engines(engines);
        }
    }

    /// Records what an answer consumed, which moves its user back at once.
    pub fn record(
        &self,
        user: &str,
        model: &str,
        input_tokens: i64,
        output_tokens: i64,
    ) -> Result<(), UsageFault> {
        let Some(tokens) = &self.commons.tokens else {
            return Ok(());
        };
        let unix = self.commons.now().unix;
        lock(tokens).record(user, model, (input_tokens, output_tokens), unix)?;
        if let Some(queue) = self.known_queue(model) {
            queue.charge(user);
        }
        Ok(())
    }

    /// Takes over what other routers counted for a user within the window.
    pub fn set_elsewhere(&self, user: &str, model: &str, sum: Consumption) {
        let Some(tokens) = &self.commons.tokens else {
            return;
        };
        let unix = self.commons.now().unix;
        lock(tokens).set_elsewhere(user, model, sum, unix);
        if let Some(queue) = self.known_queue(model) {
            queue.charge(user);
        }
    }

    /// Nothing is known of the other routers any more.
    pub fn clear_elsewhere(&self) {
        if let Some(tokens) = &self.commons.tokens {
            lock(tokens).clear_elsewhere();
        }
    }

    /// What this router itself counted within the window, by model and user.
    pub fn own_consumption(&self) -> Vec<(Arc<str>, Arc<str>, Consumption)> {
        let unix = self.commons.now().unix;
        let tokens = self.commons.tokens.as_ref().map(lock);
        tokens.map(|tokens| tokens.own(unix)).unwrap_or_default()
    }

    /// Who waits now, by model and user.
    pub fn waiting_users(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let mut all = Vec::new();
        for (model, queue) in self.each() {
            let users = queue.waiting_users().into_iter();
            all.extend(users.map(|user| (Arc::clone(&model), user)));
        }
        all
    }

    /// What one answer counts for; `None` without fairness.
    pub fn weigh(&self, input_tokens: i64, output_tokens: i64) -> Option<Consumption> {
        let tokens = self.commons.tokens.as_ref()?;
        Some(lock(tokens).weigh(input_tokens, output_tokens))
    }

    /// Does what has become due and says when to call again; `None` = not before [`Self::rung`].
    pub fn run_due(&self) -> Option<Instant> {
        self.commons.alarm.disarm();
        for (_, queue) in self.each() {
            queue.settle();
        }
        self.commons.alarm.at()
    }

    /// Resolves once [`Self::run_due`] must be called earlier than it said. For one task only.
    pub fn rung(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|cx| self.commons.alarm.poll_rung(cx))
    }

    /// What every queue has done so far, in no order.
    pub fn counts(&self) -> Vec<(Arc<str>, QueueCounts)> {
        self.each()
            .into_iter()
            .map(|(model, queue)| (model, queue.counts()))
            .collect()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "an order of users needs no more than 53 bits"
    )]
    fn cost(&self, ask: &Ask<'_>) -> f64 {
        self.config().fairness.as_ref().map_or(0.0, |fairness| {
            let cost = ask.input_tokens as f64 * fairness.input_weight
                + ask.max_output_tokens as f64 * fairness.output_weight;
            cost * fairness.token_priority
        })
    }

    fn known_queue(&self, model: &str) -> Option<Arc<Queue>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.queues.get(model).cloned()
    }

    fn queue(
        &self,
        model: &str,
        measured: impl FnOnce() -> Engines,
    ) -> Result<Arc<Queue>, Refused> {
        if let Some(queue) = self.known_queue(model) {
            return Ok(queue);
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let model = table.known.get(model).ok_or(Refused::UnknownModel)?;
        let model = Arc::clone(model);
        let queue = table.queues.entry(Arc::clone(&model)).or_insert_with(|| {
            let commons = Arc::clone(&self.commons);
            Arc::new(Queue::new(model, commons, measured()))
        });
        Ok(Arc::clone(queue))
    }

    fn each(&self) -> Vec<(Arc<str>, Arc<Queue>)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table
            .queues
            .iter()
            .map(|(model, queue)| (Arc::clone(model), Arc::clone(queue)))
            .collect()
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues")
            .field("config", &self.commons.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
