//! Requests as they once came, from a router's access log.
//!
//! The log has times and counts of tokens, not prompts: what requests shared is not in it, so each
//! prompt is its own and cache-aware policies have nothing to find between requests.

use std::time::Duration;

use serde::Deserialize;

use crate::workload::{Session, Turn, Workload};

/// A line of the log in its JSON form, as far as it matters.
#[derive(Debug, Deserialize)]
struct Line {
    timestamp: String,
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
}

/// Why a log cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// No line has a time and counts of tokens.
    #[error("no line has a time and the numbers of tokens of prompt and answer")]
    Empty,
}

/// The requests of a log, in either form of its lines. `seconds` reads a line's time.
///
/// Lines that are no requests, or have no counts, are left out.
pub fn read(text: &str, seconds: impl Fn(&str) -> Option<f64>) -> Result<Workload, TraceError> {
    let request = |line: &str| {
        let (time, own, output) = json(line).or_else(|| plain(line))?;
        let at = seconds(&time)?;
        (own > 0 && output > 0).then_some((at, own, output))
    };
    let mut requests: Vec<(f64, u32, u32)> = text.lines().filter_map(request).collect();
    requests.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some((begin, ..)) = requests.first().copied() else {
        return Err(TraceError::Empty);
    };
    let session = |(at, own, output): &(f64, u32, u32)| Session {
        start: Duration::from_secs_f64((at - begin).max(0.0)),
        shared: None,
        adapter: None,
        user: 0,
        turns: vec![Turn {
            pause: Duration::ZERO,
            own: *own,
            output: *output,
        }],
    };
    let sessions: Vec<Session> = requests.iter().map(session).collect();
    Ok(Workload {
        name: "trace".to_owned(),
        about: format!(
            "{} requests of an access log, when they came",
            sessions.len()
        ),
        sessions,
        concurrency: None,
        adapters: 0,
        queue: None,
        filters: Vec::new(),
    })
}

fn json(line: &str) -> Option<(String, u32, u32)> {
    let line: Line = serde_json::from_str(line).ok()?;
    Some((line.timestamp, line.input_tokens?, line.output_tokens?))
}

/// `[time] "POST … HTTP/1.1" 200 … tokens=12/34 …`
fn plain(line: &str) -> Option<(String, u32, u32)> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    // Values that contain a space are quoted, so the last such word is the field.
    let counts = rest
        .rsplit(' ')
        .find_map(|word| word.strip_prefix("tokens="));
    let (input, output) = counts?.split_once('/')?;
    Some((time.to_owned(), input.parse().ok()?, output.parse().ok()?))
}
