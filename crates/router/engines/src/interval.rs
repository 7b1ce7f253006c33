//! Averages over the time between two readings of a histogram.

/// Sum and count of a histogram since the engine started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// What was measured, added up; its unit is the histogram's.
    pub sum: f64,
    /// How often.
    pub count: f64,
}

/// The average of what was added to a histogram between two readings.
#[derive(Debug, Clone, Default)]
pub struct IntervalMean {
    previous: Option<Totals>,
}

impl IntervalMean {
    /// Takes the totals of today, or their absence. `None` = nothing was measured since.
    pub fn observe(&mut self, current: Option<Totals>) -> Option<f64> {
        let current = current.filter(|totals| totals.sum.is_finite() && totals.count.is_finite());
        let before = std::mem::replace(&mut self.previous, current)?;
        let now = current?;
        if now.count <= 0.0 {
            return None;
        }
        let mean = if Self::is_restart(before, now) {
            now.sum / now.count
        } else {
            (now.sum - before.sum) / (now.count - before.count)
        };
        // Nothing new divides by zero; an average of zero says as little.
        (mean.is_finite() && mean > 0.0).then_some(mean)
    }

    /// Whether `current` cannot follow what was observed last, so that the engine must have started again.
    pub fn shows_restart(&self, current: Option<Totals>) -> bool {
        self.previous
            .zip(current)
            .is_some_and(|(before, now)| Self::is_restart(before, now))
    }

    /// Whether something was added since what was observed last.
    pub fn has_more(&self, current: Option<Totals>) -> bool {
        self.previous
            .zip(current)
            .is_some_and(|(before, now)| now.count > before.count || Self::is_restart(before, now))
    }

    fn is_restart(before: Totals, now: Totals) -> bool {
        now.count < before.count || now.sum < before.sum
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{IntervalMean, Totals};

    const fn totals(sum: f64, count: f64) -> Totals {
        Totals { sum, count }
    }

    #[rstest]
    #[case::first_reading(&[Some(totals(3.0, 2.0))], None)]
    #[case::new_samples(&[Some(totals(1.0, 2.0)), Some(totals(4.0, 8.0))], Some(0.5))]
    #[case::no_new_samples(&[Some(totals(1.0, 2.0)), Some(totals(1.0, 2.0))], None)]
    #[case::none_ever(&[Some(totals(0.0, 0.0)), Some(totals(0.0, 0.0))], None)]
    #[case::count_fell(&[Some(totals(9.0, 10.0)), Some(totals(12.0, 4.0))], Some(3.0))]
    #[case::sum_fell(&[Some(totals(9.0, 10.0)), Some(totals(6.0, 12.0))], Some(0.5))]
    #[case::fell_to_nothing(&[Some(totals(9.0, 10.0)), Some(totals(0.0, 0.0))], None)]
    #[case::vanished(&[Some(totals(1.0, 2.0)), None], None)]
    #[case::vanished_and_back(&[Some(totals(1.0, 2.0)), None, Some(totals(4.0, 8.0))], None)]
    #[case::average_of_zero(&[Some(totals(1.0, 2.0)), Some(totals(1.0, 8.0))], None)]
    #[case::not_a_number(&[Some(totals(1.0, 2.0)), Some(totals(f64::NAN, 8.0))], None)]
    fn means(#[case] readings: &[Option<Totals>], #[case] expected: Option<f64>) {
        let mut mean = IntervalMean::default();
        let mut last = None;
        for reading in readings {
            last = mean.observe(*reading);
        }
        assert_eq!(last, expected);
    }

    #[test]
    fn falling_totals_show_a_restart() {
        let mut mean = IntervalMean::default();
        mean.observe(Some(totals(9.0, 10.0)));
        assert!(mean.shows_restart(Some(totals(1.0, 1.0))));
        assert!(!mean.shows_restart(Some(totals(9.0, 10.0))));
        assert!(!mean.shows_restart(None));
    }
}
