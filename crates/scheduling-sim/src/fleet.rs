//! Engines in virtual time.

use std::collections::HashMap;
use std::time::Duration;

use kthena_engine_sim::batch::{BatchConfig, Engine, Finished, Load, Step, StepOutcome};
use kthena_engine_sim::kv_cache::KvEvent;
use kthena_router_scheduler::Sample;

/// An engine, the step it is in, and what its metrics show.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    step: Option<Box<StepOutcome>>,
    /// Gauges are set when a step ends. Requests that came meanwhile are seen by the step after.
    gauges: Load,
    recent: Recent,
}

/// Latencies since the engine was last measured, as its histograms would show them.
#[derive(Debug, Default)]
struct Recent {
    first_tokens: Mean,
    later_tokens: Mean,
    /// The last means that were not empty.
    shown: (f64, f64),
}

#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, seconds: f64) {
        self.sum += seconds;
        self.count += 1;
    }

    fn take(&mut self) -> Option<f64> {
        let taken = std::mem::take(self);
        (taken.count > 0).then(|| taken.sum / f64::from(taken.count))
    }
}

/// When a node has to be looked at again.
pub(crate) enum Next {
    /// A step ends.
    StepEnds(Duration),
    /// What it waits for is there.
    Ready(Duration),
    /// When it gets a request.
    Nothing,
}

impl Node {
    pub(crate) fn new(config: &BatchConfig) -> Self {
        Self {
            engine: Engine::new(config.clone()),
            step: None,
            gauges: Load::default(),
            recent: Recent::default(),
        }
    }

    /// Begins a step if the engine is free.
    pub(crate) fn begin(&mut self, now: Duration) -> Next {
        if self.step.is_some() {
            return Next::Nothing;
        }
        match self.engine.step(now) {
            Step::Ran(outcome) => {
                let end = now + outcome.duration;
                self.step = Some(outcome);
                Next::StepEnds(end)
            }
            Step::Wait { until } => Next::Ready(until),
            Step::Idle => Next::Nothing,
        }
    }

    /// What the step that runs changes in the cache; once.
    pub(crate) fn changes(&mut self) -> Vec<KvEvent> {
        let step = self.step.as_mut();
        step.map(|step| std::mem::take(&mut step.events))
            .unwrap_or_default()
    }

    /// Ends the step; what it brought.
    pub(crate) fn end(&mut self) -> Option<StepOutcome> {
        let outcome = *self.step.take()?;
        for new in outcome.emitted.iter().filter(|new| new.first) {
            self.recent.first_tokens.add(new.after.as_secs_f64());
        }
        for done in &outcome.finished {
            if let Some(seconds) = per_token(done) {
                self.recent.later_tokens.add(seconds);
            }
        }
        let ended = outcome.finished.len() as u32;
        self.gauges = Load {
            running: outcome.load.running.saturating_sub(ended),
            cache_usage: self.engine.load().cache_usage,
            ..outcome.load.clone()
        };
        Some(outcome)
    }

    /// What a scrape of the engine's metrics tells.
    pub(crate) fn measure(&mut self, now: Duration) -> Sample {
        let recent = &mut self.recent;
        if let Some(mean) = recent.first_tokens.take() {
            recent.shown.0 = mean;
        }
        if let Some(mean) = recent.later_tokens.take() {
            recent.shown.1 = mean;
        }
        Sample {
            running: self.gauges.running,
            waiting: self.gauges.waiting,
            kv_usage: self.gauges.cache_usage,
            ttft: recent.shown.0,
            tpot: recent.shown.1,
            taken_at: now,
        }
    }
}

/// Mean time between a request's tokens, seconds.
pub(crate) fn per_token(done: &Finished) -> Option<f64> {
    let gaps = done.output_tokens.checked_sub(1).filter(|gaps| *gaps > 0)?;
    Some(done.decode.as_secs_f64() / f64::from(gaps))
}

/// Requests by their numbers.
pub(crate) type ById<T> = HashMap<u64, T>;
