//! What is known about one endpoint: work on its way, and how fast it gets done.
//!
//! How time grows with work is learnt from all endpoints together, and of each only by which factor it is slower than
//! that. Lines through the few and noisy measurements of one endpoint would differ by more than endpoints do.

use std::time::Duration;

use super::adapters::Adapters;
use super::cost::Work;
use super::fit::{Fit, Line};

/// One endpoint's work and speed. Times are seconds, amounts tokens.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    /// Requests without a first token, and what of their prompts is to be computed.
    pub(super) pending: u32,
    pub(super) pending_tokens: f64,
    /// Requests whose answer has begun, and the tokens of their prompts.
    pub(super) running: u32,
    pub(super) context: f64,
    /// Since when there is something pending, or the last first token came.
    pub(super) busy_since: f64,
    /// When a step ended last, as far as a first or a last token told.
    pub(super) stepped: f64,
    pub(super) adapters: Adapters,
    prefill: Pace,
    decode: Pace,
    /// How long requests hold memory, from first token to end, and how many tokens they bring.
    pub(super) hold: Mean,
    pub(super) output: Mean,
    /// Which share of what was expected to be cached really was.
    pub(super) trust: Mean,
}

/// How time grows with work, over all endpoints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual {
    /// Seconds between first tokens over the tokens computed for them.
    prefill: Fit,
    /// Seconds per token of an answer over the context of all running requests.
    decode: Fit,
    /// Seconds by which a request waits longer whose adapter is not in use, over how many others are.
    adapter: Fit,
}

/// The lines of the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    prefill: Line,
    decode: Line,
    adapter: Line,
}

/// By which factor an endpoint is slower than usual, over measurements that fade.
#[derive(Debug, Clone, Copy)]
struct Pace {
    real: f64,
    usual: f64,
}

/// A mean that fades.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mean(f64);

const MEAN_STEP: f64 = 0.05;
/// What is left of a measurement of pace when the next one comes.
const PACE_FADE: f64 = 0.99;

/// 10 ms and 10,000 tokens a second: a small model on one GPU.
const PREFILL: Line = Line {
    base: 0.01,
    slope: 1e-4,
};
/// 20 ms a token, and 10 more when 100,000 tokens are attended to.
const DECODE: Line = Line {
    base: 0.02,
    slope: 1e-7,
};
/// 0.1 s to load an adapter, which is what one of rank 32 takes, and 10 ms more for each that is in use.
const ADAPTER: Line = Line {
    base: 0.1,
    slope: 0.01,
};

impl Default for Lane {
    fn default() -> Self {
        Self {
            pending: 0,
            pending_tokens: 0.0,
            running: 0,
            context: 0.0,
            busy_since: 0.0,
            stepped: 0.0,
            adapters: Adapters::default(),
            prefill: Pace::starting(1.0),
            decode: Pace::starting(0.1),
            hold: Mean(5.0),
            output: Mean(200.0),
            trust: Mean(1.0),
        }
    }
}

impl Default for Usual {
    fn default() -> Self {
        Self {
            prefill: Fit::starting(PREFILL, 2_000.0),
            decode: Fit::starting(DECODE, 100_000.0),
            adapter: Fit::starting(ADAPTER, 10.0),
        }
    }
}

impl Usual {
    /// The lines of the moment.
    pub(super) fn lines(&self) -> Lines {
        Lines {
            prefill: self.prefill.line(),
            decode: self.decode.line(),
            adapter: self.adapter.line(),
        }
    }

    /// One waited so much longer than was expected without that.
    pub(super) fn learn_adapter(&mut self, beside: f64, longer: f64) {
        self.adapter.add(beside, longer.max(0.0));
    }
}

impl Lines {
    /// Seconds by which a request waits longer whose adapter is not in use, while so many others are.
    pub(super) fn adapter(&self, beside: f64) -> f64 {
        self.adapter.at(beside)
    }
}

impl Pace {
    /// As quick as usual, until more than `seconds` were measured.
    fn starting(seconds: f64) -> Self {
        Self {
            real: seconds,
            usual: seconds,
        }
    }

    fn add(&mut self, real: f64, usual: f64) {
        self.real = self.real * PACE_FADE + real;
        self.usual = self.usual * PACE_FADE + usual;
    }

    fn factor(self) -> f64 {
        if self.usual > 0.0 {
            self.real / self.usual
        } else {
            1.0
        }
    }
}

impl Mean {
    pub(super) fn get(self) -> f64 {
        self.0
    }

    fn add(&mut self, value: f64) {
        self.0 += MEAN_STEP * (value - self.0);
    }
}

impl Lane {
    /// A request goes out of which `fresh` tokens must be computed.
    pub(super) fn begin(&mut self, now: Duration, fresh: f64) {
        if self.pending == 0 {
            self.busy_since = now.as_secs_f64();
        }
        self.pending += 1;
        self.pending_tokens += fresh;
    }

    /// Its first token is here: of `prompt` tokens, `fresh` were computed.
    pub(super) fn first_token(&mut self, now: Duration, work: &Work, usual: &mut Usual) {
        let Work { fresh, prompt, .. } = *work;
        self.leave_pending(fresh);
        self.running += 1;
        self.context += prompt;
        let now = now.as_secs_f64();
        let taken = (now - self.busy_since).max(0.0);
        self.busy_since = now;
        self.stepped = now;
        self.prefill.add(taken, usual.prefill.line().at(fresh));
        usual.prefill.add(fresh, taken);
    }

    /// It ends without a first token.
    pub(super) fn give_up(&mut self, fresh: f64) {
        self.leave_pending(fresh);
    }

    /// It ends after its first token.
    pub(super) fn end(&mut self, prompt: f64) {
        self.running = self.running.saturating_sub(1);
        self.context = (self.context - prompt).max(0.0);
    }

    /// It brought `output` tokens, the later ones within `decoding` seconds until `now`.
    pub(super) fn learn(&mut self, now: Duration, output: f64, decoding: f64, usual: &mut Usual) {
        self.stepped = self.stepped.max(now.as_secs_f64());
        if output > 1.0 {
            let each = decoding / (output - 1.0);
            self.decode.add(each, usual.decode.line().at(self.context));
            usual.decode.add(self.context, each);
        }
        self.output.add(output);
        self.hold.add(decoding);
    }

    /// Of `expected` tokens, `real` were cached.
    pub(super) fn learn_trust(&mut self, expected: f64, real: f64) {
        if expected > 0.0 {
            self.trust.add((real / expected).clamp(0.0, 1.0));
        }
    }

    /// Its lines, for prompts and for answers.
    pub(super) fn lines(&self, usual: &Lines) -> (Line, Line) {
        (
            usual.prefill.times(self.prefill.factor()),
            usual.decode.times(self.decode.factor()),
        )
    }

    fn leave_pending(&mut self, fresh: f64) {
        self.pending = self.pending.saturating_sub(1);
        // Sums of reals drift; without requests there is nothing.
        self.pending_tokens = if self.pending == 0 {
            0.0
        } else {
            (self.pending_tokens - fresh).max(0.0)
        };
    }
}
