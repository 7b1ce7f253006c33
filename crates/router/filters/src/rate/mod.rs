//! How many tokens a model may take and give.
//!
//! A `ModelRoute` may limit the prompt tokens and the generated tokens of its model per unit of time. Prompt tokens are
//! taken before a request is queued or routed; generated ones are charged once it is known how many there were, which
//! is why they may leave a debt that later requests wait for.
//!
//! # Invariants
//!
//! - Names that share a bucket share its limit: an adapter is limited together with its base model.
//! - An edit of a route never refills a bucket that was spent, and a limit that was removed limits nothing.
//! - A request that is refused takes nothing.
//!
//! # Where to go next
//!
//! `bucket` for the arithmetic, [`RateTable::set`] for what happens when routes change.

mod bucket;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kthena_api::model_route::{RateLimit, RateLimitUnit};

use bucket::{Bucket, Short};

/// Limits of one model, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Prompt tokens per unit; `None` = any number.
    pub input: Option<NonZeroU32>,
    /// Generated tokens per unit; `None` = any number.
    pub output: Option<NonZeroU32>,
    /// The unit of time.
    pub unit: Duration,
}

/// What limits one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// A value of a request's `model`.
    pub name: Arc<str>,
    /// The bucket it takes from.
    pub bucket: Arc<str>,
    /// Limits of the bucket; the same in all assignments that name it.
    pub limits: Limits,
}

/// Which kind of tokens there are not enough of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Tokens of prompts.
    Input,
    /// Tokens of answers.
    Output,
}

/// A request must not go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Of which tokens there are not enough.
    pub kind: TokenKind,
    /// When there would be; `None` = never.
    pub wait: Option<Duration>,
}

/// The limits of all models, and what is left of them.
#[derive(Debug, Default)]
pub struct RateTable {
    names: RwLock<HashMap<Arc<str>, Arc<Limiter>>>,
}

/// What is left of one model's limits.
#[derive(Debug)]
pub struct Limiter {
    bucket: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    input: Option<Bucket>,
    output: Option<Bucket>,
}

impl Limits {
    /// What a route asks for; `None` = nothing is limited. A number below 1, which admission refuses, limits nothing.
    pub fn of(raw: &RateLimit) -> Option<Self> {
        let count = |tokens: Option<i32>| NonZeroU32::new(u32::try_from(tokens?).ok()?);
        let limits = Self {
            input: count(raw.input_tokens_per_unit),
            output: count(raw.output_tokens_per_unit),
            unit: match raw.unit {
                RateLimitUnit::Second => Duration::from_secs(1),
                RateLimitUnit::Minute => Duration::from_mins(1),
                RateLimitUnit::Hour => Duration::from_hours(1),
                RateLimitUnit::Day => Duration::from_hours(24),
                RateLimitUnit::Month => Duration::from_hours(30 * 24),
            },
        };
        (limits.input.is_some() || limits.output.is_some()).then_some(limits)
    }
}

impl RateTable {
    /// Takes over which names are limited, and how. Buckets that are still named keep what was spent of them.
    pub fn set(&self, wanted: impl IntoIterator<Item = Assignment>, now: Instant) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let mut buckets: HashMap<Arc<str>, Arc<Limiter>> = names
            .values()
            .map(|limiter| (Arc::clone(&limiter.bucket), Arc::clone(limiter)))
            .collect();
        *names = wanted
            .into_iter()
            .map(
                |Assignment {
                     name,
                     bucket,
                     limits,
                 }| {
                    let limiter = buckets
                        .entry(Arc::clone(&bucket))
                        .or_insert_with(|| Arc::new(Limiter::new(bucket, limits, now)));
                    limiter.resize(limits, now);
                    (name, Arc::clone(limiter))
                },
            )
            .collect();
    }

    /// What limits requests for `model`; `None` = nothing does.
    pub fn limiter(&self, model: &str) -> Option<Arc<Limiter>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(model).cloned()
    }
}

impl Limiter {
    fn new(bucket: Arc<str>, limits: Limits, now: Instant) -> Self {
        let full = |limit: NonZeroU32| Bucket::full(limit.get(), limits.unit, now);
        Self {
            bucket,
            state: Mutex::new(State {
                limits,
                input: limits.input.map(full),
                output: limits.output.map(full),
            }),
        }
    }

    fn resize(&self, limits: Limits, now: Instant) {
        let mut state = self.lock();
        if state.limits == limits {
            return;
        }
        let resized = |before: Option<Bucket>, limit: Option<NonZeroU32>| {
            let limit = limit?.get();
            Some(match before {
                Some(before) => before.resized(limit, limits.unit, now),
                None => Bucket::full(limit, limits.unit, now),
            })
        };
        *state = State {
            limits,
            input: resized(state.input, limits.input),
            output: resized(state.output, limits.output),
        };
    }

    /// Takes the tokens of a prompt, unless there are too few of either kind.
    pub fn admit(&self, input_tokens: u64, now: Instant) -> Result<(), Exceeded> {
        let mut state = self.lock();
        let short = |bucket: Option<&Bucket>, tokens, kind| {
            let check = bucket.map_or(Ok(()), |bucket| bucket.check(tokens, now));
            check.map_err(|Short { wait }| Exceeded { kind, wait })
        };
        short(state.input.as_ref(), input_tokens, TokenKind::Input)?;
        // Nobody knows how many it will be.
        short(state.output.as_ref(), 1, TokenKind::Output)?;
        if let Some(input) = &mut state.input {
            input.take(input_tokens, now);
        }
        Ok(())
    }

    /// Takes the tokens of an answer.
    pub fn charge(&self, output_tokens: u64, now: Instant) {
        if let Some(output) = &mut self.lock().output {
            output.take(output_tokens, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
