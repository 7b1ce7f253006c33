//! Gives an engine's metrics names that do not depend on the engine.
//!
//! The text is copied line by line. Behind each family that has a standard name follows the same
//! family again under that name, with its help, type, labels and suffixes.

use std::fmt::Write;

use crate::Engine;

/// The engine's name, and the standard one. Where two lead to the same, the first that is there
/// counts.
const VLLM: &[(&str, &str)] = &[
    ("vllm:generation_tokens", "kthena:generation_tokens"),
    ("vllm:num_requests_waiting", "kthena:num_requests_waiting"),
    (
        "vllm:time_to_first_token_seconds",
        "kthena:time_to_first_token_seconds",
    ),
    (
        "vllm:time_per_output_token_seconds",
        "kthena:time_per_output_token_seconds",
    ),
    (
        "vllm:inter_token_latency_seconds",
        "kthena:time_per_output_token_seconds",
    ),
    (
        "vllm:e2e_request_latency_seconds",
        "kthena:e2e_request_latency_seconds",
    ),
];
const SGLANG: &[(&str, &str)] = &[
    ("sglang:generation_tokens", "kthena:generation_tokens"),
    ("sglang:num_queue_reqs", "kthena:num_requests_waiting"),
    (
        "sglang:time_to_first_token_seconds",
        "kthena:time_to_first_token_seconds",
    ),
    (
        "sglang:inter_token_latency_seconds",
        "kthena:time_per_output_token_seconds",
    ),
    (
        "sglang:e2e_request_latency_seconds",
        "kthena:e2e_request_latency_seconds",
    ),
];
/// What a sample's name may have behind its family's.
const SUFFIXES: &[&str] = &["", "_total", "_bucket", "_sum", "_count", "_created"];

/// A line of the exposition that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no sample: {text:?}")]
pub struct RenameError {
    /// Counted from 1.
    pub line: usize,
    /// Its beginning.
    pub text: String,
}

/// The text with copies under standard names.
pub fn rename(engine: Engine, text: &str) -> Result<String, RenameError> {
    let names = match engine {
        Engine::Vllm => VLLM,
        Engine::Sglang => SGLANG,
    };
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut copy = Copy::new(text, names);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let Some(name) = name_of(line) else {
            if is_comment(line) || line.trim().is_empty() {
                out.push_str(line);
                continue;
            }
            return Err(RenameError {
                line: number + 1,
                text: line.chars().take(60).collect(),
            });
        };
        copy.enter(name, &mut out);
        out.push_str(line);
        copy.add(name, line);
    }
    copy.finish(&mut out);
    Ok(out)
}

/// The copy of the family that is being read.
struct Copy<'a> {
    /// The pairs of names that are used for this text.
    names: Vec<(&'a str, &'a str)>,
    current: Option<(&'a str, &'a str)>,
    pending: String,
}

impl<'a> Copy<'a> {
    fn new(text: &str, names: &'a [(&'a str, &'a str)]) -> Self {
        let present = |family: &str| {
            let mut lines = text.lines().filter_map(name_of);
            lines.any(|name| belongs(name, family))
        };
        let mut used: Vec<(&str, &str)> = Vec::new();
        for (family, standard) in names {
            let taken = used.iter().any(|(_, other)| other == standard);
            if !taken && present(family) {
                used.push((family, standard));
            }
        }
        Self {
            names: used,
            current: None,
            pending: String::new(),
        }
    }

    /// A line about `name` follows; if it is of another family, the copy goes out first.
    fn enter(&mut self, name: &str, out: &mut String) {
        let found = self.names.iter().find(|(family, _)| belongs(name, family));
        let found = found.copied();
        if found != self.current {
            self.finish(out);
            self.current = found;
        }
    }

    fn add(&mut self, name: &str, line: &str) {
        let Some((family, standard)) = self.current else {
            return;
        };
        let suffix = name.strip_prefix(family).unwrap_or_default();
        let Some((before, after)) = line.split_once(name) else {
            return;
        };
        // Writing to memory cannot fail.
        let _ = write!(self.pending, "{before}{standard}{suffix}{after}");
    }

    fn finish(&mut self, out: &mut String) {
        if !self.pending.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&self.pending);
        self.pending.clear();
        self.current = None;
    }
}

fn belongs(name: &str, family: &str) -> bool {
    name.strip_prefix(family)
        .is_some_and(|suffix| SUFFIXES.contains(&suffix))
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#')
}

/// The name a sample, a help line or a type line is about.
fn name_of(line: &str) -> Option<&str> {
    if is_comment(line) {
        let mut words = line.split_whitespace().skip(1);
        return match words.next() {
            Some("HELP" | "TYPE") => words.next(),
            _ => None,
        };
    }
    let end = line.find(['{', ' ', '\t'])?;
    let name = &line[..end];
    let first = name.bytes().next()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    let valid = !first.is_ascii_digit() && name.bytes().all(fits);
    // Whatever stands last must be a value or a time.
    let value = line.split_whitespace().next_back()?;
    (valid && value.parse::<f64>().is_ok()).then_some(name)
}

#[cfg(test)]
mod tests;
