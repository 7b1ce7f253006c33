//! A decision for people.

use std::fmt::Write;

use serde_json::Value;

/// Columns of the candidates.
const COLUMNS: [&str; 7] = [
    "",
    "POD",
    "ADDRESS",
    "SCORE",
    "IN FLIGHT",
    "MEASURED",
    "SCORES",
];

/// Names that are shown of a list.
const NAMES: usize = 10;

/// The decision as lines, then its candidates as a table.
pub(super) fn render(decision: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name:<10}{value}");
        }
    };
    line("Model", text(&decision["model"]));
    line("Route", text(&decision["route"]));
    line("Rule", rule(&decision["rule"]));
    line("Server", text(&decision["server"]));
    let renamed = decision["upstreamModel"] != decision["model"];
    line(
        "Asks for",
        text(&decision["upstreamModel"]).filter(|_| renamed),
    );
    line("Connector", text(&decision["connector"]));
    line("Pod", choice(decision));
    line("Refused", refusal(&decision["error"]));
    line("Unmatched", names(&decision["unmatched"]));
    line("Models", names(&decision["models"]));
    let rows = rows(decision);
    if !rows.is_empty() {
        out.push('\n');
        push_table(&rows, &mut out);
    }
    let left_out = decision["leftOut"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if !left_out.is_empty() {
        out.push_str("\nLeft out:\n");
    }
    for pod in left_out {
        let _ = writeln!(out, "  {}: {}", plain(&pod["pod"]), plain(&pod["why"]));
    }
    out
}

/// A value that is there.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        other => Some(plain(other)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn rule(rule: &Value) -> Option<String> {
    let position = text(&rule["position"])?;
    Some(match text(&rule["name"]) {
        Some(name) => format!("{name} (rules[{position}])"),
        None => format!("rules[{position}]"),
    })
}

fn choice(decision: &Value) -> Option<String> {
    let pod = text(&decision["pod"])?;
    let mut line = format!("{pod}: {}", plain(&decision["reason"]));
    if let Some(next) = text(&decision["runnerUp"]) {
        let _ = write!(line, "; next would be {next}");
    }
    Some(line)
}

fn refusal(error: &Value) -> Option<String> {
    let message = text(&error["message"])?;
    Some(format!("{} {message}", plain(&error["status"])))
}

/// Names after each other; a router may know thousands.
fn names(names: &Value) -> Option<String> {
    let names = names.as_array()?;
    let mut shown: Vec<String> = names.iter().take(NAMES).map(plain).collect();
    if names.len() > NAMES {
        shown.push(format!("and {} more", names.len() - NAMES));
    } else if names.is_empty() {
        shown.push("none has a route".to_owned());
    }
    Some(shown.join(", "))
}

fn rows(decision: &Value) -> Vec<[String; 7]> {
    let mut rows = Vec::new();
    for candidate in decision["candidates"].as_array().into_iter().flatten() {
        rows.push(row(candidate, if rows.is_empty() { "*" } else { "" }));
        if candidate["prefill"].is_object() {
            rows.push(row(&candidate["prefill"], "+"));
        }
    }
    rows
}

/// A candidate. The mark is `*` for the one that is asked first, `+` for the prefill half of the one above.
fn row(candidate: &Value, mark: &str) -> [String; 7] {
    let scores = candidate["scores"].as_array();
    let scores: Vec<String> = scores
        .into_iter()
        .flatten()
        .map(|score| {
            let weight = &score["weight"];
            let times = if *weight == 1 {
                String::new()
            } else {
                format!(" x{weight}")
            };
            format!("{} {}{times}", plain(&score["plugin"]), score["score"])
        })
        .collect();
    [
        mark.to_owned(),
        plain(&candidate["pod"]),
        plain(&candidate["address"]),
        plain(&candidate["score"]),
        plain(&candidate["inFlight"]),
        age(&candidate["sampleAgeSeconds"]),
        scores.join(", "),
    ]
}

/// How long ago the engine told its state.
fn age(seconds: &Value) -> String {
    let told = seconds.as_f64().map(|age| format!("{age:.1} s ago"));
    told.unwrap_or_else(|| "-".to_owned())
}

fn push_table(rows: &[[String; 7]], out: &mut String) {
    let header = COLUMNS.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&header).chain(rows);
        cells
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}
