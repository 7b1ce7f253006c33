//! When a pod is asked again.

use std::time::Duration;

use fastrand::Rng;

use super::Visit;

/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest wait for an engine that has no metrics to show; its models may change.
const WITHOUT_METRICS: Duration = Duration::from_secs(5);

/// Parts of an interval at whose borders visits begin, and the longest such part.
const STEPS: u32 = 50;
const LONGEST_STEP: Duration = Duration::from_millis(20);

/// The rhythm of one pod.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    wait: Duration,
    rng: Rng,
}

impl Pace {
    pub(super) fn new(interval: Duration, seed: u64) -> Self {
        Self {
            interval,
            wait: interval,
            rng: Rng::with_seed(seed),
        }
    }

    /// How long to wait after a visit: the interval, doubled for each one in a row that brought nothing. A tenth more
    /// or less, by chance, keeps pods from being asked all at once.
    pub(super) fn after(&mut self, visit: Visit) -> Duration {
        let longest = match visit {
            Visit::Fresh => self.interval,
            Visit::WithoutMetrics => WITHOUT_METRICS,
            Visit::Failed => LONGEST,
        };
        self.wait = match visit {
            Visit::Fresh => self.interval,
            Visit::WithoutMetrics | Visit::Failed => {
                (self.wait * 2).min(longest).max(self.interval)
            }
        };
        self.wait.mul_f64(0.9 + 0.2 * self.rng.f64())
    }

    /// When a visit begins that is due at `due`, both since the same moment for all pods. Those that are due at about
    /// the same time begin together, so that many engines wake this thread a few times a second and not each for itself.
    pub(super) fn in_step(&self, due: Duration) -> Duration {
        let step = (self.interval / STEPS).min(LONGEST_STEP).as_nanos();
        let over = due.as_nanos().checked_rem(step).filter(|over| *over > 0);
        let rest = over.and_then(|over| u64::try_from(step - over).ok());
        due.saturating_add(Duration::from_nanos(rest.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::{Pace, Visit};

    #[rstest]
    #[case::fresh(Visit::Fresh, &[1, 1, 1, 1])]
    #[case::failed(Visit::Failed, &[2, 4, 8, 16, 30, 30])]
    #[case::without_metrics(Visit::WithoutMetrics, &[2, 4, 5, 5])]
    fn waits(#[case] visit: Visit, #[case] seconds: &[u64]) {
        let mut pace = Pace::new(Duration::from_secs(1), 7);
        for expected in seconds {
            let wait = pace.after(visit);
            let expected = Duration::from_secs(*expected);
            assert!(
                wait >= expected.mul_f64(0.9) && wait <= expected.mul_f64(1.1),
                "{wait:?} is not about {expected:?}"
            );
        }
    }

    #[rstest]
    #[case::at_a_border(1000, 1_000, 1_000)]
    #[case::behind_one(1000, 1_001, 1_020)]
    #[case::before_one(1000, 1_019, 1_020)]
    #[case::often(100, 1_001, 1_002)]
    #[case::seldom(60_000, 1_001, 1_020)]
    #[case::without_pause(0, 1_001, 1_001)]
    fn visits_begin_together(#[case] interval: u64, #[case] due: u64, #[case] expected: u64) {
        let pace = Pace::new(Duration::from_millis(interval), 7);
        let begun = pace.in_step(Duration::from_millis(due));
        assert_eq!(begun, Duration::from_millis(expected));
    }

    #[test]
    fn an_answer_brings_the_interval_back() {
        let mut pace = Pace::new(Duration::from_secs(1), 7);
        for _ in 0..5 {
            pace.after(Visit::Failed);
        }
        assert!(pace.after(Visit::Fresh) < Duration::from_millis(1200));
    }

    #[test]
    fn a_long_interval_is_never_shortened() {
        let mut pace = Pace::new(Duration::from_mins(1), 7);
        assert!(pace.after(Visit::Failed) >= Duration::from_secs(54));
    }

    #[test]
    fn pods_drift_apart() {
        let waits = |seed| Pace::new(Duration::from_secs(1), seed).after(Visit::Fresh);
        assert_ne!(waits(1), waits(2));
    }
}
