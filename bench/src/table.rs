//! Figures beside what they must reach.

use std::fmt;

use serde_json::{Value, json};

/// A thing that was measured.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) measured: f64,
    pub(crate) unit: &'static str,
    pub(crate) bound: Bound,
    /// What else is worth knowing.
    pub(crate) note: String,
}

/// What a figure must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    /// It must stay below this.
    Below(f64),
    /// It must be nothing at all.
    Zero,
    /// It is told for its own sake.
    None,
}

impl Figure {
    fn verdict(&self) -> &'static str {
        match self.bound {
            Bound::None => "",
            Bound::Below(most) if self.measured < most => "ok",
            Bound::Zero if self.measured == 0.0 => "ok",
            Bound::Below(_) | Bound::Zero => "missed",
        }
    }

    /// The columns' titles, spaced as the figures are.
    pub(crate) fn titles() -> String {
        format!(
            "{:<46} {:>10} {:>14}  {:<7}",
            "what", "must be", "measured", ""
        )
    }

    /// The same as data.
    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "measured": self.measured,
            "unit": self.unit,
            "bound": match self.bound {
                Bound::Below(most) => json!(most),
                Bound::Zero => json!(0),
                Bound::None => Value::Null,
            },
            "verdict": self.verdict(),
            "note": self.note,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = match self.bound {
            Bound::Below(most) => format!("< {most}"),
            Bound::Zero => "0".to_owned(),
            Bound::None => "-".to_owned(),
        };
        let measured = format!("{:.2} {}", self.measured, self.unit);
        let line = format!(
            "{:<46} {bound:>10} {measured:>14}  {:<7} {}",
            self.name,
            self.verdict(),
            self.note
        );
        f.write_str(line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Figure};

    fn verdict(measured: f64, bound: Bound) -> &'static str {
        let figure = Figure {
            name: "x",
            measured,
            unit: "s",
            bound,
            note: String::new(),
        };
        figure.verdict()
    }

    #[test]
    fn a_bound_is_kept_or_missed() {
        assert_eq!(verdict(4.9, Bound::Below(5.0)), "ok");
        assert_eq!(verdict(5.0, Bound::Below(5.0)), "missed");
        assert_eq!(verdict(0.0, Bound::Zero), "ok");
        assert_eq!(verdict(1.0, Bound::Zero), "missed");
        assert_eq!(verdict(9.0, Bound::None), "");
    }
}
