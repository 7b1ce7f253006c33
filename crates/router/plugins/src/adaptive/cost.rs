//! What it costs to send a request somewhere: in seconds, the request's own and those it takes from others.

use kthena_router_scheduler::Reading;

use super::fit::Line;
use super::lane::{Lane, Lines};

/// What a request asks of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Work {
    /// Tokens of the prompt.
    pub(super) prompt: f64,
    /// Of those, tokens that the endpoint must compute.
    pub(super) fresh: f64,
    /// Of those, tokens that another endpoint has, so that computing them adds a copy.
    pub(super) copied: f64,
    /// Of those, tokens that were sent there before, cached or not.
    pub(super) sent: f64,
}

/// An endpoint at the moment of a decision. Times are seconds, amounts tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    /// Requests without a first token, and how long what is to be computed for them takes from now.
    pending: f64,
    queue: f64,
    /// Until the engine's next step begins: it takes in nothing before.
    step: f64,
    /// Requests whose answer has begun, those of other routers included, and their context.
    running: f64,
    context: f64,
    prefill: Line,
    decode: Line,
    /// Tokens an answer has, and seconds a request holds memory.
    output: f64,
    hold: f64,
    /// What the engine says.
    waiting: f64,
    kv_usage: f64,
    /// Tokens its cache holds; 0 = unknown.
    pub(super) cache: f64,
    /// Until the adapter is there that is asked for.
    pub(super) adapter: f64,
    /// How many tokens are computed again for each that a copy pushes out.
    pub(super) again: f64,
    /// Which share of what was expected to be cached really was.
    pub(super) trust: f64,
}

/// Time in a queue counts so often: whoever comes after this request waits for the same queue, and unequal queues are
/// what makes first tokens late when engines are busy. Found by simulating the published experiment on other cards and
/// seeds than are reported: 8 to 24 differ by less than seeds do.
const QUEUE: f64 = 12.0;
/// What a copy pushes out counts so often: followers use the copy too, so that it stays, or comes again whenever it was
/// pushed out itself. Found in the same way, on four cards whose memory is short: 1, 2 and 4 differ by 2 % each. Where
/// memory is not short nothing is computed again, and it hardly counts.
const COPY: f64 = 4.0;
/// How far the slowing of answers is counted. Stalls are in what was measured of it and count already, so that this
/// decides where nothing else does: for answers whose prompt was computed elsewhere. 0 to 0.1 are alike otherwise.
const ANSWER: f64 = 0.1;
/// From this use of the cache on, what waits in the engine waits for memory.
const TIGHT: f64 = 0.9;

impl Outlook {
    /// What is known at `now` of an endpoint with this reading. `others` are requests of other routers.
    pub(super) fn of(
        lane: &Lane,
        usual: &Lines,
        reading: &Reading,
        (others, now): (f64, f64),
    ) -> Self {
        let (prefill, decode) = lane.lines(usual);
        let running = f64::from(lane.running);
        let context = if lane.running > 0 {
            lane.context * (running + others) / running
        } else {
            0.0
        };
        let mut outlook = Self {
            pending: f64::from(lane.pending),
            queue: 0.0,
            step: 0.0,
            running: running + others,
            context,
            prefill,
            decode,
            output: lane.output.get(),
            hold: lane.hold.get(),
            waiting: f64::from(reading.waiting),
            kv_usage: reading.kv_usage,
            cache: 0.0,
            adapter: 0.0,
            again: 0.0,
            trust: lane.trust.get(),
        };
        outlook.queue = outlook.queue_at(lane, now);
        outlook.step = outlook.step_at(lane, now);
        outlook
    }

    /// Expected seconds to the first token.
    pub(super) fn first_token(&self, work: &Work) -> f64 {
        self.prefilled(work) + self.memory_wait()
    }

    /// Seconds, weighted, that the request and all others together spend longer if it goes here.
    pub(super) fn total(&self, work: &Work) -> f64 {
        let compute = self.prefill.slope * work.fresh;
        // What a copy pushes out is computed some other time, as long and in as many people's way.
        let again = COPY * self.again * self.prefill.slope * work.copied;
        // Whoever generates waits while a prompt is computed, and so do prompts in the same step.
        let stall = (compute + again) * (self.running + self.pending);
        // Every token reads the context of all who generate: theirs is read for ours, and ours for theirs.
        let context = self.context + work.prompt * self.running;
        let answer = self.output * (self.decode.base + self.decode.slope * context);
        let memory = self.memory_wait() + self.memory_taken(work.copied);
        QUEUE * (self.prefilled(work) + again) + stall + memory + ANSWER * answer
    }

    /// Whether memory is what requests wait for.
    pub(super) fn is_tight(&self) -> bool {
        self.kv_usage >= TIGHT
    }

    /// Until the prompt is computed, were there memory for it.
    fn prefilled(&self, work: &Work) -> f64 {
        let Line { base, slope } = self.prefill;
        self.step + self.queue + base + slope * work.fresh + self.adapter
    }

    /// What is pending, less what was worked on it since it began or the last first token came. An engine that has let
    /// others wait for more than twice the time they should take will be longer still, or would attract all by standing
    /// still; twice, because estimates of single requests are often wrong by half.
    fn queue_at(&self, lane: &Lane, now: f64) -> f64 {
        if lane.pending == 0 {
            return 0.0;
        }
        let all = self.prefill.base * self.pending + self.prefill.slope * lane.pending_tokens;
        let elapsed = (now - lane.busy_since).max(0.0);
        (all - elapsed).max(elapsed - 2.0 * all).max(0.0)
    }

    /// A step begins when one ends, which a first or a last token tells. Without a sign of the current one, half of it
    /// is left.
    fn step_at(&self, lane: &Lane, now: f64) -> f64 {
        if self.running <= 0.0 {
            return 0.0;
        }
        let whole = self.decode.at(self.context);
        let elapsed = (now - lane.stepped).max(0.0);
        if elapsed < whole {
            whole - elapsed
        } else {
            whole / 2.0
        }
    }

    /// A full cache takes new requests only as old ones end.
    fn memory_wait(&self) -> f64 {
        if !self.is_tight() {
            return 0.0;
        }
        self.waiting * self.hold / self.running.max(1.0)
    }

    /// By how much memory for `tokens` more delays all who wait for memory: a cache full of them is free after the time
    /// a request holds it.
    fn memory_taken(&self, tokens: f64) -> f64 {
        if !self.is_tight() || self.cache <= 0.0 {
            return 0.0;
        }
        tokens / self.cache * self.hold * (self.waiting + 1.0)
    }
}
