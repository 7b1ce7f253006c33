//! Requests as they once came, from a router's access log.
//!
//! The log has times and counts of tokens, not prompts: what requests shared is not in it, so each
//! prompt is its own and cache-aware policies have nothing to find between requests.

use std::time::Duration;

use serde::Deserialize;

use crate::workload::{Session, Turn, Workload};

/// A line of the log, as far as it matters.
#[derive(Debug, Deserialize)]
struct Line {
    timestamp: Option<String>,
    #[serde(alias = "prompt_tokens")]
    input_tokens: Option<u32>,
    #[serde(alias = "completion_tokens")]
    output_tokens: Option<u32>,
}

/// Why a log cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// No line has a time and counts of tokens.
    #[error("no line has timestamp, input_tokens and output_tokens")]
    Empty,
}

/// The requests of a log of JSON lines. `seconds` reads a line's time.
///
/// Lines that are no requests, or have no counts, are left out.
pub fn read(text: &str, seconds: impl Fn(&str) -> Option<f64>) -> Result<Workload, TraceError> {
    let request = |line: &str| {
        let line: Line = serde_json::from_str(line).ok()?;
        let at = seconds(&line.timestamp?)?;
        let own = line.input_tokens.filter(|tokens| *tokens > 0)?;
        let output = line.output_tokens.filter(|tokens| *tokens > 0)?;
        Some((at, own, output))
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
    })
}
