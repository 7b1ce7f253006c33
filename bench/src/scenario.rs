//! The rows of the table: what is asked, and how often.

use std::sync::Arc;

use crate::load;

/// Clients of the closed loop.
pub(crate) const CONNECTIONS: usize = 16;

/// A kind of request.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) request: Arc<[u8]>,
    /// Requests that are measured.
    pub(crate) total: usize,
    /// Most CPU time per request of the router, in microseconds.
    pub(crate) bound: f64,
    /// Most of it as a multiple of nginx's.
    pub(crate) ratio: f64,
}

const CHAT: &str = "/v1/chat/completions";

/// A chat whose body is about 150 bytes.
pub(crate) fn short() -> Scenario {
    let body = r#"{"model":"m","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"Say hello."}],"max_tokens":16}"#;
    Scenario {
        name: "short chat, us",
        request: load::request(CHAT, body),
        total: 100_000,
        bound: 30.0,
        ratio: 1.8,
    }
}

/// A chat with a prompt of 16 KB.
pub(crate) fn long() -> Scenario {
    let prompt = "The quick brown fox jumps over the lazy dog. ".repeat(364);
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":16}}"#
    );
    Scenario {
        name: "16 KB prompt, us",
        request: load::request(CHAT, &body),
        total: 60_000,
        bound: 45.0,
        ratio: 2.0,
    }
}

/// A stream of 200 events.
pub(crate) fn stream() -> Scenario {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Tell me a story."}],"stream":true,"max_tokens":200}"#;
    Scenario {
        name: "stream of 200 events, us",
        request: load::request(CHAT, body),
        total: 4_000,
        bound: 500.0,
        ratio: 1.8,
    }
}

/// A stream that says one thing and then nothing.
pub(crate) fn idle() -> Arc<[u8]> {
    load::request(
        "/v1/completions",
        r#"{"model":"m","prompt":"idle","stream":true}"#,
    )
}
