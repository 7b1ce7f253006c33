//! What it costs to send a request somewhere: in seconds, the request's own and those it takes from others.

use super::fit::Line;
use super::lane::Lane;

/// What a request asks of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Work {
    /// Tokens of the prompt.
    pub(super) prompt: f64,
    /// Of those, tokens that the endpoint must compute.
    pub(super) fresh: f64,
    /// Of those, tokens that another endpoint has, so that computing them adds a copy.
    pub(super) copied: f64,
}

/// An endpoint at the moment of a decision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    /// Requests without a first token, and what of their prompts is to be computed.
    pub(super) pending: f64,
    pub(super) pending_tokens: f64,
    /// Requests whose answer has begun, those of other routers included, and their context.
    pub(super) running: f64,
    pub(super) context: f64,
    pub(super) prefill: Line,
    pub(super) decode: Line,
    /// Tokens an answer has, and seconds a request takes.
    pub(super) output: f64,
    pub(super) duration: f64,
    /// What the engine says.
    pub(super) waiting: f64,
    pub(super) kv_usage: f64,
}

/// Time in a queue counts so often: whoever comes after this request waits for the same queue, and unequal queues are
/// what makes first tokens late when engines are busy. Found, like the next two, by simulating the published experiment
/// with long and short prompts: tried were 8 to 16 here, 1 to 8 for `COPY` and 0.3 or 1 for `ANSWER`, nothing beyond.
const QUEUE: f64 = 12.0;
/// A copy of a cached prefix costs its computation so often: something else leaves the cache for it.
const COPY: f64 = 4.0;
/// How far the slowing of answers is counted. It is known least well, for stalls are in what was measured.
const ANSWER: f64 = 0.3;
/// From this use of the cache on, what waits in the engine waits for memory.
const TIGHT: f64 = 0.9;

impl Outlook {
    /// What the router knows of an endpoint with these speeds, for prompts and for answers. `others` are requests of
    /// other routers.
    pub(super) fn of(lane: &Lane, (prefill, decode): (Line, Line), others: f64) -> Self {
        let running = f64::from(lane.running);
        let context = if lane.running > 0 {
            lane.context * (running + others) / running
        } else {
            0.0
        };
        Self {
            pending: f64::from(lane.pending),
            pending_tokens: lane.pending_tokens,
            running: running + others,
            context,
            prefill,
            decode,
            output: lane.output.get(),
            duration: lane.duration.get(),
            waiting: 0.0,
            kv_usage: 0.0,
        }
    }

    /// Expected seconds to the first token.
    pub(super) fn first_token(&self, work: &Work) -> f64 {
        let Line { base, slope } = self.prefill;
        let queue = base * (self.pending + 1.0) + slope * (self.pending_tokens + work.fresh);
        queue + self.memory_wait()
    }

    /// Seconds, weighted, that the request and all others together spend longer if it goes here.
    pub(super) fn total(&self, work: &Work) -> f64 {
        let compute = self.prefill.slope * work.fresh;
        // Whoever generates waits while a prompt is computed.
        let stall = compute * self.running;
        let copy = self.prefill.slope * work.copied;
        // Every token reads the context of all who generate: theirs is read for ours, and ours for theirs.
        let context = self.context + work.prompt * self.running;
        let answer = self.output * (self.decode.base + self.decode.slope * context);
        QUEUE * self.first_token(work) + stall + COPY * copy + ANSWER * answer
    }

    /// A full cache takes new requests only as old ones end.
    fn memory_wait(&self) -> f64 {
        if self.kv_usage < TIGHT {
            return 0.0;
        }
        self.waiting * self.duration / self.running.max(1.0)
    }
}
