//! The text format of an exposition, with the habits of the Python client both engines use: labels
//! in alphabetical order, numbers always with a fraction, a `_created` gauge after each counter and
//! histogram.

use std::fmt::Write;

use super::Histogram;

/// Label names with values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Writes families. The base labels go on every series.
pub(super) struct Exposition<'a> {
    out: String,
    base: Labels<'a>,
    created: f64,
}

impl<'a> Exposition<'a> {
    pub(super) fn new(base: Labels<'a>, created: f64) -> Self {
        Self {
            out: String::with_capacity(32 << 10),
            base,
            created,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.out
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn series(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.out.push_str(name);
        let mut all: Vec<_> = self.base.iter().chain(labels).collect();
        all.sort_unstable();
        for (at, (label, value)) in all.iter().enumerate() {
            self.out.push(if at == 0 { '{' } else { ',' });
            let _ = write!(self.out, "{label}=\"");
            escape(value, &mut self.out);
            self.out.push('"');
        }
        if !all.is_empty() {
            self.out.push('}');
        }
        self.out.push(' ');
        number(value, &mut self.out);
        self.out.push('\n');
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, &[(&[], value)]);
    }

    pub(super) fn gauges(&mut self, name: &str, help: &str, series: &[(Labels<'_>, f64)]) {
        self.head(name, "gauge", help);
        for (labels, value) in series {
            self.series(name, labels, *value);
        }
    }

    /// `name` without `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, &[(&[], value)]);
    }

    /// `name` without `_total`.
    pub(super) fn counters(&mut self, name: &str, help: &str, series: &[(Labels<'_>, u64)]) {
        let total = format!("{name}_total");
        self.head(&total, "counter", help);
        for (labels, value) in series {
            self.series(&total, labels, *value as f64);
        }
        let labels: Vec<Labels<'_>> = series.iter().map(|(labels, _)| *labels).collect();
        self.created(name, help, &labels);
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            let mut le = String::new();
            number(bound, &mut le);
            self.series(&bucket, &[("le", &le)], count as f64);
        }
        self.series(&format!("{name}_count"), &[], histogram.count() as f64);
        self.series(&format!("{name}_sum"), &[], histogram.sum());
        self.created(name, help, &[&[]]);
    }

    fn created(&mut self, name: &str, help: &str, series: &[Labels<'_>]) {
        let name = format!("{name}_created");
        self.head(&name, "gauge", help);
        for labels in series {
            self.series(&name, labels, self.created);
        }
    }
}

fn escape(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

/// A number as the Python client writes it: from a million on with an exponent.
pub(super) fn number(value: f64, out: &mut String) {
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        return;
    }
    let plain = format!("{value:?}");
    match plain.find('.') {
        Some(dot) if dot > 6 && value > 0.0 => {
            let digits = format!("{}{}", &plain[1..dot], &plain[dot + 1..]);
            let digits = digits.trim_end_matches('0');
            let point = if digits.is_empty() { "" } else { "." };
            let _ = write!(out, "{}{point}{digits}e+{:02}", &plain[..1], dot - 1);
        }
        _ => out.push_str(&plain),
    }
}
