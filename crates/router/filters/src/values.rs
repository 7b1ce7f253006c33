//! Syntax of values in environment variables. Nothing here is fatal: a value that cannot be read is a warning.

use std::time::Duration;

use kthena_api::duration::GoDuration;

/// Go's truth values; anything else is no answer.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What a variable may hold when it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// As if it were not set.
    Unset,
    /// A value that cannot be read.
    Invalid,
}

/// Reads variables and notes what could not be understood.
pub(crate) struct Reader<'v> {
    get: &'v dyn Fn(&str) -> Option<String>,
    pub(crate) warnings: Vec<String>,
}

impl<'v> Reader<'v> {
    pub(crate) fn new(get: &'v dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            get,
            warnings: Vec::new(),
        }
    }

    /// A switch: anything that is not true is off.
    pub(crate) fn switch(&self, name: &str) -> bool {
        (self.get)(name)
            .and_then(|text| boolean(&text))
            .unwrap_or(false)
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, name: &str, default: &str) -> String {
        (self.get)(name)
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| default.to_owned())
    }

    /// The value of `name` as `parse` reads it; `rule` says in a warning what was expected.
    pub(crate) fn value<T: std::fmt::Debug>(
        &mut self,
        name: &str,
        empty: Empty,
        default: T,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some(text) = (self.get)(name) else {
            return default;
        };
        if text.is_empty() && empty == Empty::Unset {
            return default;
        }
        parse(&text).unwrap_or_else(|| {
            self.warnings.push(format!(
                "{name}: {text:?} is not {rule}; {default:?} is used"
            ));
            default
        })
    }

    pub(crate) fn weight(&mut self, name: &str, empty: Empty, default: f64) -> f64 {
        self.value(name, empty, default, "a finite number from 0", weight)
    }

    pub(crate) fn duration(
        &mut self,
        name: &str,
        empty: Empty,
        default: Duration,
        rule: &str,
        holds: impl FnOnce(&Duration) -> bool,
    ) -> Duration {
        self.value(name, empty, default, rule, |text| {
            duration(text).and_then(GoDuration::to_std).filter(holds)
        })
    }
}

/// A duration in Go's syntax, of either sign.
pub(crate) fn duration(text: &str) -> Option<GoDuration> {
    text.parse().ok()
}

fn weight(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|weight: &f64| weight.is_finite() && *weight >= 0.0)
}
