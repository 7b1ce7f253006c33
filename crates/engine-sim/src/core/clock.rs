//! Engine time against tokio's time.

use std::time::Duration;

use tokio::time::Instant;

/// How far engine time may fall behind before it gives up catching up, real time.
const MAX_LAG: Duration = Duration::from_millis(100);

/// Runs `speed` times as fast as tokio's clock; without bound when the speed is infinite.
#[derive(Debug)]
pub(super) struct Clock {
    base: Instant,
    speed: f64,
    /// End of the last step, engine time.
    busy_until: Duration,
}

impl Clock {
    pub(super) fn new(speed: f64) -> Self {
        Self {
            base: Instant::now(),
            speed,
            busy_until: Duration::ZERO,
        }
    }

    /// Engine time.
    pub(super) fn now(&self) -> Duration {
        if self.speed.is_finite() {
            self.base.elapsed().mul_f64(self.speed)
        } else {
            self.busy_until
        }
    }

    /// Whether time passes while nothing is done.
    pub(super) fn runs(&self) -> bool {
        self.speed.is_finite()
    }

    /// When the next step starts: right after the last one while the engine is busy, so that late
    /// timers do not add up; now after a pause or when the machine is too slow to keep up.
    pub(super) fn step_start(&self, busy: bool) -> Duration {
        let now = self.now();
        let lag = now.saturating_sub(self.busy_until);
        let bearable = self.speed.is_infinite() || lag <= MAX_LAG.mul_f64(self.speed);
        if busy && bearable {
            self.busy_until
        } else {
            now.max(self.busy_until)
        }
    }

    /// Notes the end of a step, or of a wait.
    pub(super) fn step_ends(&mut self, end: Duration) {
        self.busy_until = self.busy_until.max(end);
    }

    /// The instant of an engine time.
    pub(super) fn instant(&self, time: Duration) -> Instant {
        if self.speed.is_finite() {
            self.base + time.div_f64(self.speed)
        } else {
            Instant::now()
        }
    }
}
