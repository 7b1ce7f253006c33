//! Lines of the Prometheus text format.

use std::fmt::{Display, Write};

/// The two lines before the series of a family.
pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail; so it is below.
    let _ = writeln!(
        out,
        "# HELP kthena_router_{name} {help}\n# TYPE kthena_router_{name} {kind}"
    );
}

/// One series; no `labels` = the family has none.
pub(crate) fn sample(out: &mut String, name: &str, labels: &str, value: &dyn Display) {
    let _ = if labels.is_empty() {
        writeln!(out, "kthena_router_{name} {value}")
    } else {
        writeln!(out, "kthena_router_{name}{{{labels}}} {value}")
    };
}

/// The series of one histogram. `counts` are those of each bucket by itself; the last one has no bound.
pub(crate) fn histogram(
    out: &mut String,
    name: &str,
    labels: &str,
    bounds: &[f64],
    (counts, sum): (&[u64], f64),
) {
    let mut total = 0;
    for (at, count) in counts.iter().enumerate() {
        total += count;
        let bound = bounds.get(at);
        let bound = bound.map_or_else(|| "+Inf".to_owned(), ToString::to_string);
        let _ = writeln!(
            out,
            "kthena_router_{name}_bucket{{{labels},le=\"{bound}\"}} {total}"
        );
    }
    let _ = writeln!(out, "kthena_router_{name}_sum{{{labels}}} {sum}");
    let _ = writeln!(out, "kthena_router_{name}_count{{{labels}}} {total}");
}

/// A label's value as it stands between quotes.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
