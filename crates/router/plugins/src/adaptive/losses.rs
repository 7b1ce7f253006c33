//! What it costs to push something out of a cache.

/// What engines computed lately: what they had before and lost, and what was new. Tokens; the past fades.
#[derive(Debug, Clone, Copy)]
pub(super) struct Losses {
    lost: f64,
    new: f64,
}

/// What is left of an answer's weight when the next one comes.
const FADE: f64 = 0.995;
/// As long as not so many tokens were computed, or nobody says what was cached, one of five is taken to have been there
/// before: the tokens of an empty cache say nothing, and what is lost by wrong copies in the beginning stays for long.
const UNSURE: f64 = 100_000.0;
const UNSURE_LOST: f64 = 0.2;
/// Where nearly all was there before, the ratio is of no certain size; by then nothing else counts anyway.
const MOST: f64 = 20.0;

impl Default for Losses {
    fn default() -> Self {
        Self {
            lost: UNSURE * UNSURE_LOST,
            new: UNSURE * (1.0 - UNSURE_LOST),
        }
    }
}

impl Losses {
    /// An engine computed `lost` tokens that it had before, and `new` ones.
    pub(super) fn add(&mut self, lost: f64, new: f64) {
        self.lost = self.lost * FADE + lost;
        self.new = self.new * FADE + new;
    }

    /// How many tokens are computed again, sooner or later, for each that is pushed out. As many are pushed out as are
    /// computed, and a share of those, lost / (lost + new), is asked for again. That pushes others out in turn, of which
    /// the same share is asked for: lost / new in all.
    pub(super) fn again(&self) -> f64 {
        if self.new * MOST <= self.lost {
            return MOST;
        }
        self.lost / self.new
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing_comes_back(0.0, 500.0, 0.0..0.001)]
    #[case::three_of_four_come_back(300.0, 100.0, 2.999..3.001)]
    #[case::nothing_is_new(500.0, 0.0, MOST..MOST + 0.001)]
    fn what_is_seen_long_enough_counts(
        #[case] lost: f64,
        #[case] new: f64,
        #[case] expected: std::ops::Range<f64>,
    ) {
        let mut losses = Losses::default();
        assert!((0.1..1.0).contains(&losses.again()));
        for _ in 0..5_000 {
            losses.add(lost, new);
        }
        assert!(expected.contains(&losses.again()), "{}", losses.again());
    }

    #[test]
    fn a_long_time_without_tokens_is_no_fault() {
        let mut losses = Losses::default();
        for _ in 0..500_000 {
            losses.add(0.0, 0.0);
        }
        assert!((0.0..=MOST).contains(&losses.again()));
    }
}
