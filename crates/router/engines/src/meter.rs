//! What follows from an engine's pages one after the other.

use crate::interval::IntervalMean;
use crate::reading::Reading;

/// What is known of an engine after its last usable page.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EngineState {
    /// Share of the KV cache in use, 0 to 1.
    pub usage: f64,
    /// Requests that wait.
    pub waiting: u32,
    /// Requests that run.
    pub running: u32,
    /// Seconds to the first token over the last interval that had one; 0 = never measured.
    pub first_token: f64,
    /// Seconds from a token to the next over the last interval that had one; 0 = never measured.
    pub next_token: f64,
    /// Seconds of prefill per computed prompt token over the last interval that had one; 0 = never measured.
    pub prefill_per_token: f64,
    /// Share of looked-up prompt tokens that were in the cache over the last interval that looked; 0 before.
    pub hit_ratio: f64,
    /// Requests put back to make room since the engine started.
    pub preempted: u64,
    /// Tokens of a block of the KV cache; 0 = not known.
    pub block_size: u32,
    /// Blocks of the KV cache; 0 = not known.
    pub blocks: u64,
    /// How often the engine was seen to start again: its totals fell.
    pub restarts: u32,
}

/// Follows one engine.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    state: EngineState,
    first_token: IntervalMean,
    next_token: IntervalMean,
    prefill: IntervalMean,
    hits: IntervalMean,
}

impl Meter {
    /// What is known now.
    pub fn state(&self) -> &EngineState {
        &self.state
    }

    /// Takes in a page.
    pub fn apply(&mut self, reading: &Reading) -> &EngineState {
        let looked_up = reading
            .hit_tokens
            .zip(reading.queried_tokens)
            .map(|(sum, count)| crate::Totals { sum, count });
        let restarted = self.first_token.shows_restart(reading.first_token)
            || self.next_token.shows_restart(reading.next_token)
            || self.hits.shows_restart(looked_up);
        let searched = self.hits.has_more(looked_up);
        let state = &mut self.state;
        state.restarts = state.restarts.wrapping_add(u32::from(restarted));
        keep(&mut state.usage, reading.usage);
        state.waiting = reading.waiting.map_or(state.waiting, whole);
        state.running = reading.running.map_or(state.running, whole);
        keep(
            &mut state.first_token,
            self.first_token.observe(reading.first_token),
        );
        keep(
            &mut state.next_token,
            self.next_token.observe(reading.next_token),
        );
        keep(
            &mut state.prefill_per_token,
            self.prefill.observe(reading.prefill),
        );
        let ratio = self.hits.observe(looked_up);
        if searched {
            state.hit_ratio = ratio.unwrap_or(0.0).min(1.0);
        }
        state.preempted = reading
            .preempted
            .map_or(state.preempted, |count| u64::from(whole(count)));
        state.block_size = reading.block_size.unwrap_or(state.block_size);
        state.blocks = reading.blocks.unwrap_or(state.blocks);
        &self.state
    }
}

fn keep(known: &mut f64, news: Option<f64>) {
    if let Some(news) = news {
        *known = news;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is what is wanted of absurd counts"
)]
fn whole(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests;
