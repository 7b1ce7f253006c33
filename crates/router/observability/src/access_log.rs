//! The two forms of an access-log line.
//!
//! Field names, their order and which are left out are what dashboards parse. Values that could forge a line are
//! quoted in the text form; clean values stand as they are.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use crate::record::{Phases, Record};

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `[time] "GET /path HTTP/1.1" 200 key=value …`
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Appends the line of `record`, line feed included, to `out`.
pub fn write_line(record: &Record, format: LogFormat, out: &mut String) {
    match format {
        LogFormat::Text => text(record, out),
        LogFormat::Json => json(record, out),
    }
    out.push('\n');
}

fn text(record: &Record, out: &mut String) {
    out.push('[');
    timestamp(record.started, out);
    out.push_str("] \"");
    push_escaped(&record.method, out);
    out.push(' ');
    push_escaped(&record.path, out);
    // Writing to a String cannot fail.
    let _ = write!(out, " {}\" {}", record.protocol, record.status);
    if let Some(error) = &record.error {
        out.push_str(" error=");
        value(&format!("{}:{}", error.kind, error.message), out);
    }
    out.push_str(" model_name=");
    value(&record.model, out);
    let destination = record.destination.as_ref();
    pair("model_route", record.route.as_deref(), out);
    pair("model_server", record.server.as_deref(), out);
    pair("selected_pod", record.pod.as_deref(), out);
    pair("request_id", Some(&record.request_id), out);
    pair("backend_type", destination.map(|to| to.kind.label()), out);
    pair("backend_name", destination.map(|to| &*to.backend), out);
    pair(
        "upstream_model",
        destination.map(|to| &*to.upstream_model),
        out,
    );
    number(
        "upstream_status_code",
        u64::from(record.upstream_status),
        out,
    );
    number("upstream_attempts", record.attempts as u64, out);
    let (input, output) = (record.input_tokens, record.output_tokens());
    if input > 0 || output > 0 {
        let _ = write!(out, " tokens={input}/{output}");
    }
    let [total, request, upstream, response] = phases(record);
    let _ = write!(out, " timings={total}ms({request}+{upstream}+{response})");
}

fn pair(key: &str, text: Option<&str>, out: &mut String) {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return;
    };
    out.push(' ');
    out.push_str(key);
    out.push('=');
    value(text, out);
}

fn number(key: &str, number: u64, out: &mut String) {
    if number > 0 {
        let _ = write!(out, " {key}={number}");
    }
}

/// Quotes a text that a reader could take for more than one value.
fn value(text: &str, out: &mut String) {
    let forges = |c: char| c == ' ' || c == '"' || c == '=' || c.is_control();
    if text.contains(forges) {
        out.push('"');
        push_escaped(text, out);
        out.push('"');
    } else {
        out.push_str(text);
    }
}

fn push_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        if c == '"' || c == '\\' || c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

/// RFC 3339 in UTC with up to nine digits of a second, none of them a trailing zero.
fn timestamp(at: SystemTime, out: &mut String) {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let whole = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let _ = write!(out, "{whole}");
    if since.subsec_nanos() > 0 {
        // `whole` ends in Z, which moves behind the fraction.
        out.pop();
        let _ = write!(out, ".{:09}", since.subsec_nanos());
        out.truncate(out.trim_end_matches('0').len());
        out.push('Z');
    }
}

fn phases(record: &Record) -> [u128; 4] {
    let Phases {
        total,
        request,
        upstream,
        response,
    } = record.phases;
    [total, request, upstream, response].map(|phase| phase.as_millis())
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    method: &'a str,
    path: &'a str,
    protocol: &'a str,
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorField<'a>>,
    model_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selected_pod: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_model: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    upstream_status_code: u64,
    #[serde(skip_serializing_if = "is_zero")]
    upstream_attempts: u64,
    #[serde(skip_serializing_if = "is_zero")]
    input_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    output_tokens: u64,
    duration_total: u64,
    duration_request_processing: u64,
    duration_upstream_processing: u64,
    duration_response_processing: u64,
}

#[derive(Serialize)]
struct ErrorField<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn json(record: &Record, out: &mut String) {
    let mut time = String::with_capacity(32);
    timestamp(record.started, &mut time);
    let destination = record.destination.as_ref();
    let [total, request, upstream, response] =
        phases(record).map(|phase| u64::try_from(phase).unwrap_or(u64::MAX));
    let line = Line {
        timestamp: &time,
        method: &record.method,
        path: &record.path,
        protocol: record.protocol,
        status_code: record.status,
        error: record.error.as_ref().map(|error| ErrorField {
            kind: error.kind,
            message: &error.message,
        }),
        model_name: &record.model,
        model_route: record.route.as_deref(),
        model_server: record.server.as_deref(),
        selected_pod: record.pod.as_deref(),
        request_id: &record.request_id,
        backend_type: destination.map(|to| to.kind.label()),
        backend_name: destination.map(|to| &*to.backend),
        upstream_model: destination.map(|to| &*to.upstream_model),
        upstream_status_code: u64::from(record.upstream_status),
        upstream_attempts: record.attempts as u64,
        input_tokens: record.input_tokens,
        output_tokens: record.output_tokens(),
        duration_total: total,
        duration_request_processing: request,
        duration_upstream_processing: upstream,
        duration_response_processing: response,
    };
    // Texts and numbers always encode.
    out.push_str(&serde_json::to_string(&line).unwrap_or_default());
}

#[cfg(test)]
mod tests;
