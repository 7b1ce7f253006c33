//! One page of metrics, reduced to what is asked of an engine.

mod families;

use smallvec::{SmallVec, smallvec};

use self::families::{Declared, FAMILIES, Meaning, Merge, Number};
use crate::exposition::{Labels, Line, Sample, lines};
use crate::interval::Totals;

/// Ranks of one engine that are told apart; more are taken for repetitions of the last.
const MOST_RANKS: usize = 256;

/// Why a page could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// Nothing on it is known.
    #[error("the page has no metric of a known engine")]
    Foreign,
    /// A sample that matters cannot be read.
    #[error("a sample cannot be read")]
    Malformed,
}

/// What a page says. A gauge that is `None` was not a finite number, so that what was known before still holds; a
/// gauge that the page does not have is 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Share of the KV cache in use, 0 to 1; of the fullest rank.
    pub usage: Option<f64>,
    /// Requests that wait, of all ranks.
    pub waiting: Option<f64>,
    /// Requests that run, of all ranks.
    pub running: Option<f64>,
    /// Seconds to the first token.
    pub first_token: Option<Totals>,
    /// Seconds from a token to the next.
    pub next_token: Option<Totals>,
    /// Prefill: seconds, and prompt tokens that were computed in them.
    pub prefill: Option<Totals>,
    /// Prompt tokens looked up in the prefix cache since the engine started.
    pub queried_tokens: Option<f64>,
    /// Prompt tokens found there.
    pub hit_tokens: Option<f64>,
    /// Requests put back to make room.
    pub preempted: Option<f64>,
    /// Tokens of a block of the KV cache.
    pub block_size: Option<u32>,
    /// Blocks of the KV cache, of all ranks.
    pub blocks: Option<u64>,
}

impl Reading {
    /// Reads a page.
    pub fn parse(page: &[u8]) -> Result<Self, PageFault> {
        let mut found: Vec<Found<'_>> = Vec::new();
        found.resize_with(FAMILIES.len(), Found::default);
        let mut lines = lines(page);
        while let Some(line) = lines.next() {
            match line {
                Line::Declaration { family, kind } => {
                    match families::of_declaration(family, kind) {
                        Declared::Right(at) => found[at].declared = true,
                        Declared::Wrong => {}
                        Declared::Foreign => lines.pass_over_family(family),
                    }
                }
                Line::Sample(raw) => {
                    let Some((at, number)) = families::of_series(raw.name) else {
                        lines.pass_over(raw.name);
                        continue;
                    };
                    let sample = raw.read().ok_or(PageFault::Malformed)?;
                    found[at].add(at, number, &sample);
                }
            }
        }
        if !found.iter().any(|family| family.seen || family.declared) {
            return Err(PageFault::Foreign);
        }
        Ok(Page(&found).reading())
    }
}

/// What a page says of one family.
#[derive(Debug, Default)]
struct Found<'a> {
    declared: bool,
    seen: bool,
    undefined: bool,
    value: f64,
    totals: Totals,
    ranks: SmallVec<[(&'a [u8], f64); 2]>,
    labels: SmallVec<[Labels<'a>; 1]>,
}

impl<'a> Found<'a> {
    fn add(&mut self, at: usize, number: Number, sample: &Sample<'a>) {
        let family = &FAMILIES[at];
        self.seen = true;
        match number {
            Number::Sum => self.totals.sum += sample.value,
            Number::Count => self.totals.count += sample.value,
            Number::Value if family.meaning == Meaning::CacheForm => {
                if self.labels.len() < MOST_RANKS {
                    self.labels.push(sample.labels);
                }
            }
            Number::Value if !sample.value.is_finite() => self.undefined = true,
            Number::Value => self.merge(family.merge, sample),
        }
    }

    fn merge(&mut self, merge: Merge, sample: &Sample<'a>) {
        match merge {
            Merge::Sum => self.value += sample.value,
            Merge::Max => self.value = self.value.max(sample.value),
            Merge::SumBy(label) => {
                let rank = sample.labels.get(label).unwrap_or_default();
                let known = self.ranks.iter().position(|(known, _)| *known == rank);
                let full = (self.ranks.len() == MOST_RANKS).then_some(MOST_RANKS - 1);
                match known.or(full) {
                    Some(at) => self.ranks[at].1 = self.ranks[at].1.max(sample.value),
                    None => self.ranks.push((rank, sample.value)),
                }
                self.value = self.ranks.iter().map(|(_, value)| value).sum();
            }
        }
    }
}

struct Page<'p, 'a>(&'p [Found<'a>]);

impl<'a> Page<'_, 'a> {
    fn reading(&self) -> Reading {
        let cache = self.cache_forms();
        Reading {
            usage: self.gauge(Meaning::Usage),
            waiting: self.gauge(Meaning::Waiting),
            running: self.gauge(Meaning::Running),
            first_token: self.histogram(Meaning::FirstToken),
            next_token: self.histogram(Meaning::NextToken),
            prefill: self.prefill(),
            queried_tokens: self.counter(Meaning::Queried),
            hit_tokens: self.counter(Meaning::Hit),
            preempted: self.counter(Meaning::Preempted),
            block_size: cache
                .iter()
                .find_map(|labels| number(*labels, &["block_size", "page_size"]))
                .filter(|size| *size > 0)
                .and_then(|size| u32::try_from(size).ok()),
            blocks: cache
                .iter()
                .filter_map(|labels| number(*labels, &["num_gpu_blocks", "num_pages"]))
                .reduce(u64::saturating_add),
        }
    }

    /// The family that speaks for a meaning: the first that has a sample.
    fn of(&self, meaning: Meaning) -> Option<&Found<'a>> {
        let with_meaning = |(family, found): &(&families::Family, &Found<'_>)| {
            family.meaning == meaning && found.seen
        };
        FAMILIES
            .iter()
            .zip(self.0)
            .find(with_meaning)
            .map(|(_, found)| found)
    }

    fn gauge(&self, meaning: Meaning) -> Option<f64> {
        match self.of(meaning) {
            Some(found) if !found.declared => Some(0.0),
            Some(found) if found.undefined => None,
            Some(found) => Some(found.value.max(0.0)),
            None => Some(0.0),
        }
    }

    fn counter(&self, meaning: Meaning) -> Option<f64> {
        self.of(meaning)
            .filter(|found| found.declared && !found.undefined)
            .map(|found| found.value)
    }

    fn histogram(&self, meaning: Meaning) -> Option<Totals> {
        self.of(meaning)
            .filter(|found| found.declared)
            .map(|found| found.totals)
    }

    fn prefill(&self) -> Option<Totals> {
        let seconds = self.histogram(Meaning::PrefillSeconds)?;
        let tokens = self.histogram(Meaning::PrefillTokens)?;
        Some(Totals {
            sum: seconds.sum,
            count: tokens.sum,
        })
    }

    fn cache_forms(&self) -> SmallVec<[Labels<'a>; 1]> {
        self.of(Meaning::CacheForm)
            .map_or_else(|| smallvec![], |found| found.labels.clone())
    }
}

/// The first of these labels that is a whole number.
fn number(labels: Labels<'_>, names: &[&str]) -> Option<u64> {
    names
        .iter()
        .find_map(|name| std::str::from_utf8(labels.get(name)?).ok()?.parse().ok())
}

#[cfg(test)]
mod tests;
