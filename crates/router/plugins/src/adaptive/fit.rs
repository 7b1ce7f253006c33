//! A line through what was measured lately.

/// `y = base + slope * x`, fitted by least squares over measurements that fade as new ones come. Two made-up
/// measurements stand at the beginning, so that there is an estimate before there is data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    count: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

/// A line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) base: f64,
    pub(super) slope: f64,
}

/// What is left of a measurement's weight when the next one comes.
const FADE: f64 = 0.98;

impl Fit {
    /// A fit that begins with `line`, which should hold for `x` up to `far`.
    pub(super) fn starting(line: Line, far: f64) -> Self {
        let mut fit = Self {
            count: 0.0,
            x: 0.0,
            y: 0.0,
            xx: 0.0,
            xy: 0.0,
        };
        fit.take(0.0, line.at(0.0));
        fit.take(far, line.at(far));
        fit
    }

    /// Takes in a measurement.
    pub(super) fn add(&mut self, x: f64, y: f64) {
        for sum in [
            &mut self.count,
            &mut self.x,
            &mut self.y,
            &mut self.xx,
            &mut self.xy,
        ] {
            *sum *= FADE;
        }
        self.take(x, y);
    }

    /// The line. Neither part is negative: more work never takes less time.
    pub(super) fn line(&self) -> Line {
        let spread = self.count * self.xx - self.x * self.x;
        let slope = if spread > 0.0 {
            (self.count * self.xy - self.x * self.y) / spread
        } else {
            0.0
        };
        if slope <= 0.0 {
            return Line {
                base: self.y / self.count,
                slope: 0.0,
            };
        }
        let base = (self.y - slope * self.x) / self.count;
        if base >= 0.0 {
            return Line { base, slope };
        }
        Line {
            base: 0.0,
            slope: if self.x > 0.0 { self.y / self.x } else { slope },
        }
    }

    fn take(&mut self, x: f64, y: f64) {
        self.count += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
    }
}

impl Line {
    pub(super) fn at(self, x: f64) -> f64 {
        self.base + self.slope * x
    }

    /// The same for somebody slower by `factor`.
    pub(super) fn times(self, factor: f64) -> Self {
        Self {
            base: self.base * factor,
            slope: self.slope * factor,
        }
    }
}
