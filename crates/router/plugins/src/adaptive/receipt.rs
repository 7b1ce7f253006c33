//! One request on its way, and what is learnt from it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kthena_router_prefix::{PrefixIndex, Recorded};
use kthena_router_scheduler::{End, Outcome, Receipt};

use super::adapters::Asked;
use super::cost::Work;
use super::lane::{Lane, Usual};
use super::lanes::SharedLane;
use super::losses::Losses;
use super::pending::{Marks, Pending};
use super::tokens;

/// How far estimates were off since the start, seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Errors {
    pub(super) absolute: f64,
    pub(super) outcome: f64,
    pub(super) count: u64,
}

/// What is learnt from all endpoints together.
#[derive(Debug, Default)]
pub(super) struct Learnt(Mutex<Lessons>);

#[derive(Debug, Default)]
pub(super) struct Lessons {
    pub(super) usual: Usual,
    pub(super) losses: Losses,
    pub(super) errors: Errors,
}

impl Learnt {
    pub(super) fn lock(&self) -> MutexGuard<'_, Lessons> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct LaneReceipt {
    pub(super) lane: SharedLane,
    pub(super) learnt: Arc<Learnt>,
    pub(super) index: Arc<PrefixIndex>,
    /// What to take back if no answer begins.
    pub(super) recorded: Option<Recorded>,
    pub(super) work: Work,
    /// Expected seconds to the first token.
    pub(super) estimate: f64,
    pub(super) begun: Duration,
    pub(super) first: Option<Duration>,
    pub(super) asked: Option<Asked>,
    /// Seconds of the estimate that are for the adapter.
    pub(super) adapter: f64,
    pub(super) endpoint: u32,
    pub(super) pending: Arc<Pending>,
    /// What to take back when the prompt is computed.
    pub(super) marks: Marks,
}

impl LaneReceipt {
    fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, first: Duration, outcome: &Outcome) {
        let output = outcome.output_tokens.map_or(0.0, tokens);
        let mut lane = self.lane();
        if output > 0.0 {
            let decoding = outcome.at.saturating_sub(first).as_secs_f64();
            let usual = &mut self.learnt.lock().usual;
            lane.learn(outcome.at, output, decoding, usual);
        }
        if let Some(cached) = outcome.cached_tokens {
            self.learn_losses(tokens(cached), output);
            // What was expected includes the trust of that moment already.
            let trusted = lane.trust.get().max(0.1);
            let expected = (self.work.prompt - self.work.fresh) / trusted;
            lane.learn_trust(expected, tokens(cached));
        }
    }

    /// Of what was sent there before, `cached` tokens were still there.
    fn learn_losses(&self, cached: f64, output: f64) {
        let Work { prompt, sent, .. } = self.work;
        let new = (prompt - sent.max(cached)).max(0.0) + output;
        let lost = (sent - cached).max(0.0);
        self.learnt.lock().losses.add(lost, new);
    }

    /// The prompt is computed, or never will be.
    fn leave_pending(&mut self) {
        self.pending.remove(&mut self.marks, self.endpoint);
    }
}

impl Receipt for LaneReceipt {
    fn first_token(&mut self, at: Duration) {
        if self.first.replace(at).is_some() {
            return;
        }
        self.recorded = None;
        self.leave_pending();
        let outcome = at.saturating_sub(self.begun).as_secs_f64();
        let mut lane = self.lane();
        let Lessons { usual, errors, .. } = &mut *self.learnt.lock();
        lane.first_token(at, &self.work, usual);
        if let Some(beside) = self.asked.and_then(|asked| asked.beside) {
            usual.learn_adapter(beside, outcome - (self.estimate - self.adapter));
        }
        errors.absolute += (outcome - self.estimate).abs();
        errors.outcome += outcome;
        errors.count += 1;
    }

    fn ended(mut self: Box<Self>, end: &End) {
        self.leave_pending();
        if let Some(Asked { name, .. }) = self.asked {
            self.lane().adapters.leave(name);
        }
        let Some(first) = self.first else {
            self.lane().give_up(self.work.fresh);
            if let (Some(recorded), End::Failed | End::Abandoned) = (&self.recorded, end) {
                self.index.undo(recorded);
            }
            return;
        };
        self.lane().end(self.work.prompt);
        if let End::Complete(outcome) = end {
            self.learn(first, outcome);
        }
    }
}
