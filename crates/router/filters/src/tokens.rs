//! What each user consumed of each model within a sliding window.
//!
//! Consumption is kept in whole millionths of a weighted token, so that taking old seconds away again leaves no
//! rounding behind, however long the router runs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::settings::FairnessConfig;

/// Millionths of a weighted token per token.
const SCALE: f64 = 1e6;
/// How often pairs that were idle for a window are looked for, in seconds.
const SWEEP_EVERY: u64 = 10;

/// A sum over the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consumption {
    /// Millionths of weighted tokens.
    pub micro_tokens: u128,
    /// Requests.
    pub requests: u64,
}

/// Consumption of every user and model, in this router and, when it is told, in the others.
#[derive(Debug)]
pub struct TokenTracker {
    window: u64,
    input_weight: f64,
    output_weight: f64,
    pairs: HashMap<Arc<str>, HashMap<Arc<str>, Account>>,
    /// Seconds since 1970 of the last search for idle pairs.
    swept: u64,
}

/// One user's use of one model.
#[derive(Debug, Default)]
struct Account {
    /// By second, oldest first; no second twice.
    buckets: VecDeque<(u64, Consumption)>,
    total: Consumption,
    /// What other routers counted, and when that was learnt.
    elsewhere: (u64, Consumption),
}

/// Why consumption was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsageFault {
    /// Nobody to charge.
    #[error("the user is not known")]
    NoUser,
    /// Nothing to charge for.
    #[error("the model is not known")]
    NoModel,
}

impl Consumption {
    /// Weighted tokens.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an order of users needs no more than 53 bits"
    )]
    pub fn tokens(self) -> f64 {
        self.micro_tokens as f64 / SCALE
    }

    fn add(&mut self, other: Self) {
        self.micro_tokens = self.micro_tokens.saturating_add(other.micro_tokens);
        self.requests = self.requests.saturating_add(other.requests);
    }

    fn take(&mut self, other: Self) {
        self.micro_tokens = self.micro_tokens.saturating_sub(other.micro_tokens);
        self.requests = self.requests.saturating_sub(other.requests);
    }
}

impl TokenTracker {
    /// An empty tracker with the window and weights of `config`.
    pub fn new(config: &FairnessConfig) -> Self {
        Self {
            window: config.window.as_secs(),
            input_weight: config.input_weight,
            output_weight: config.output_weight,
            pairs: HashMap::new(),
            swept: 0,
        }
    }

    /// What one answer counts for. Negative numbers count as none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "token counts fit; the result is not negative and saturates"
    )]
    pub fn weigh(&self, input: i64, output: i64) -> Consumption {
        let weighted =
            input.max(0) as f64 * self.input_weight + output.max(0) as f64 * self.output_weight;
        Consumption {
            micro_tokens: (weighted * SCALE).round() as u128,
            requests: 1,
        }
    }

    /// Records an answer at `unix` seconds. An answer without tokens still counts as a request.
    pub fn record(
        &mut self,
        user: &str,
        model: &str,
        (input, output): (i64, i64),
        unix: u64,
    ) -> Result<Consumption, UsageFault> {
        if user.is_empty() {
            return Err(UsageFault::NoUser);
        }
        if model.is_empty() {
            return Err(UsageFault::NoModel);
        }
        let consumed = self.weigh(input, output);
        let floor = self.floor(unix);
        let account = self.account(user, model);
        account.forget_before(floor);
        account.add(unix, consumed);
        self.sweep(unix);
        Ok(consumed)
    }

    /// The sum over the window that ends at `unix` seconds; nothing for unknown or empty names.
    pub fn consumption(&self, user: &str, model: &str, unix: u64) -> Consumption {
        let account = self.pairs.get(model).and_then(|users| users.get(user));
        account.map_or_else(Consumption::default, |account| {
            account.sum_from(self.floor(unix))
        })
    }

    /// Takes over what the other routers counted for a user within the window, as known at `unix` seconds. It counts
    /// for one window unless it is renewed.
    pub fn set_elsewhere(&mut self, user: &str, model: &str, sum: Consumption, unix: u64) {
        let known = self
            .pairs
            .get(model)
            .is_some_and(|users| users.contains_key(user));
        if user.is_empty() || model.is_empty() || (!known && sum == Consumption::default()) {
            return;
        }
        self.account(user, model).elsewhere = (unix, sum);
        self.sweep(unix);
    }

    /// Nothing is known of the other routers any more.
    pub fn clear_elsewhere(&mut self) {
        let accounts = self.pairs.values_mut().flat_map(HashMap::values_mut);
        for account in accounts {
            account.elsewhere.1 = Consumption::default();
        }
    }

    /// What this router itself counted within the window, by model and user; nothing of those who consumed nothing.
    pub fn own(&self, unix: u64) -> Vec<(Arc<str>, Arc<str>, Consumption)> {
        let floor = self.floor(unix);
        let mut all = Vec::new();
        for (model, users) in &self.pairs {
            for (user, account) in users {
                let sum = account.own_from(floor);
                if sum != Consumption::default() {
                    all.push((Arc::clone(model), Arc::clone(user), sum));
                }
            }
        }
        all
    }

    /// How many pairs of user and model are kept.
    pub fn pairs(&self) -> usize {
        self.pairs.values().map(HashMap::len).sum()
    }

    fn floor(&self, unix: u64) -> u64 {
        unix.saturating_sub(self.window)
    }

    fn account(&mut self, user: &str, model: &str) -> &mut Account {
        if !self.pairs.contains_key(model) {
            self.pairs.insert(model.into(), HashMap::new());
        }
        let users = self.pairs.entry(model.into()).or_default();
        users.entry(user.into()).or_default()
    }

    /// Now and then frees every pair that has nothing within the window.
    fn sweep(&mut self, unix: u64) {
        if unix.abs_diff(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = unix;
        let floor = self.floor(unix);
        self.pairs.retain(|_, users| {
            users.retain(|_, account| {
                account.forget_before(floor);
                !account.buckets.is_empty() || account.elsewhere.1 != Consumption::default()
            });
            !users.is_empty()
        });
    }
}

impl Account {
    fn add(&mut self, second: u64, consumed: Consumption) {
        self.total.add(consumed);
        match self.buckets.back_mut() {
            // A clock that was set back must not disturb the order.
            Some((last, bucket)) if *last >= second => bucket.add(consumed),
            _ => self.buckets.push_back((second, consumed)),
        }
    }

    fn forget_before(&mut self, floor: u64) {
        while let Some((second, bucket)) = self.buckets.front().copied()
            && second < floor
        {
            self.total.take(bucket);
            self.buckets.pop_front();
        }
        if self.elsewhere.0 < floor {
            self.elsewhere.1 = Consumption::default();
        }
    }

    fn sum_from(&self, floor: u64) -> Consumption {
        let mut sum = self.own_from(floor);
        if self.elsewhere.0 >= floor {
            sum.add(self.elsewhere.1);
        }
        sum
    }

    fn own_from(&self, floor: u64) -> Consumption {
        let mut sum = self.total;
        let old = self
            .buckets
            .iter()
            .take_while(|(second, _)| *second < floor);
        for (_, bucket) in old {
            sum.take(*bucket);
        }
        sum
    }
}

#[cfg(test)]
mod tests;
