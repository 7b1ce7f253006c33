//! The candidates of one decision, each read once.
//!
//! Endpoints lie scattered in memory and change while they are looked at. What policies need of them is therefore taken
//! down once per decision, side by side: every policy sees the same moment, and going through a thousand costs little.

use std::cell::Cell;

use crate::endpoint::Candidate;

/// Who may serve a request, and what is known of each at the moment of the decision.
#[derive(Debug)]
pub struct Candidates<'c> {
    all: &'c [Candidate],
    lists: Lists,
}

/// What is known of an endpoint at one moment. What a sample would tell is 0 where none was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Number of the endpoint.
    pub id: u32,
    /// Requests that any router has in flight there.
    pub on_flight: u32,
    /// Requests in the engine's batch.
    pub running: u32,
    /// Requests in the engine's queue.
    pub waiting: u32,
    /// Share of the engine's KV cache in use, nominally 0 to 1.
    pub kv_usage: f64,
    /// Time to the first token, seconds; 0 = unmeasured.
    pub ttft: f64,
    /// Time per output token, seconds; 0 = unmeasured.
    pub tpot: f64,
}

/// As long as each other.
#[derive(Debug, Default)]
struct Lists {
    positions: Vec<u32>,
    readings: Vec<Reading>,
}

thread_local! {
    /// The lists of the decision before, whose memory the next one takes.
    static SPARE: Cell<Lists> = Cell::default();
}

impl<'c> Candidates<'c> {
    /// All of `all`.
    pub fn all(all: &'c [Candidate]) -> Self {
        let mut lists = Lists::spare();
        lists.positions.extend((0_u32..).take(all.len()));
        let readings = all.iter().map(|candidate| candidate.endpoint.reading());
        lists.readings.extend(readings);
        Self { all, lists }
    }

    /// Those of `all` at `positions`; what is beyond its end does not count.
    pub fn only(all: &'c [Candidate], positions: &[usize]) -> Self {
        let mut lists = Lists::spare();
        for at in positions {
            if let (Some(candidate), Ok(position)) = (all.get(*at), u32::try_from(*at)) {
                lists.positions.push(position);
                lists.readings.push(candidate.endpoint.reading());
            }
        }
        Self { all, lists }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lists.positions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lists.positions.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'c Candidate> + Clone {
        let all = self.all;
        let positions = self.lists.positions.iter();
        positions.map(move |at| &all[*at as usize])
    }

    /// The list they are from.
    pub fn source(&self) -> &'c [Candidate] {
        self.all
    }

    /// Their places in that list.
    pub fn positions(&self) -> &[u32] {
        &self.lists.positions
    }

    /// What is known of each.
    pub fn readings(&self) -> &[Reading] {
        &self.lists.readings
    }

    /// The one at `place` among these, and its place in the list.
    pub(crate) fn at(&self, place: u32) -> (&'c Candidate, u32) {
        let position = self.lists.positions[place as usize];
        (&self.all[position as usize], position)
    }

    /// Leaves out those whose mark is not set; `keep` is as long as this.
    pub(crate) fn retain(&mut self, keep: &[bool]) {
        let mut marks = keep.iter().copied();
        self.lists
            .positions
            .retain(|_| marks.next().unwrap_or_default());
        let mut marks = keep.iter().copied();
        self.lists
            .readings
            .retain(|_| marks.next().unwrap_or_default());
    }
}

impl Drop for Candidates<'_> {
    fn drop(&mut self) {
        SPARE.set(std::mem::take(&mut self.lists));
    }
}

impl Lists {
    fn spare() -> Self {
        let mut spare = SPARE.take();
        spare.positions.clear();
        spare.readings.clear();
        spare
    }
}

#[cfg(test)]
mod tests;
