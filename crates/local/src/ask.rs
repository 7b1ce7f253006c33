//! One streamed chat through the router, as an application would send it.

use std::io;

use futures::StreamExt;
use kthena_wire::sse::{Decoder, SseError};
use serde_json::{Value, json};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Where the router answers.
    pub router: String,
    /// The model, as a route names it.
    pub model: String,
    /// What the user says.
    pub text: String,
}

/// What came with an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Tokens of the answer, by the engine's count.
    pub completion_tokens: u64,
    /// Which pod answered and why, by the router's account.
    pub explanation: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The router cannot be reached or the stream broke.
    #[error("the router: {0}")]
    Http(#[from] reqwest::Error),
    /// The router refused.
    #[error("the router answered {status}: {message}")]
    Refused {
        /// Status code.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The stream is no event stream.
    #[error("the answer: {0}")]
    Stream(#[from] SseError),
    /// The answer cannot be shown.
    #[error("output: {0}")]
    Output(#[from] io::Error),
}

/// Response header in which the router says where a request went and why.
const EXPLAIN_HEADER: &str = "x-kthena-explain";
/// Longest event of a stream that is believed to be a chat.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Asks and writes the answer to `out` as it streams.
///
/// # Errors
///
/// If the router cannot be reached, refuses, or the answer cannot be shown.
pub async fn ask(question: &Question, out: &mut impl io::Write) -> Result<Answer, AskError> {
    let body = json!({
        "model": question.model,
        "messages": [{"role": "user", "content": question.text}],
        "max_tokens": 60,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let client = reqwest::Client::new();
    let response = client
        .post(format!("{}/v1/chat/completions", question.router))
        .header(EXPLAIN_HEADER, "1")
        .json(&body)
        .send()
        .await?;
    let mut answer = Answer {
        explanation: response
            .headers()
            .get(EXPLAIN_HEADER)
            .and_then(|text| text.to_str().ok())
            .map(str::to_owned),
        ..Answer::default()
    };
    if !response.status().is_success() {
        let status = response.status().as_u16();
        return Err(AskError::Refused {
            status,
            message: refusal(&response.text().await?),
        });
    }
    let mut decoder = Decoder::new(MAX_EVENT_BYTES);
    let mut events = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        decoder.push(&chunk?, &mut events)?;
        for event in events.drain(..) {
            take(&event.data, &mut answer, out)?;
        }
    }
    writeln!(out)?;
    Ok(answer)
}

fn take(data: &str, answer: &mut Answer, out: &mut impl io::Write) -> io::Result<()> {
    let Ok(chunk) = serde_json::from_str::<Value>(data) else {
        return Ok(());
    };
    if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str() {
        out.write_all(text.as_bytes())?;
        out.flush()?;
    }
    if let Some(tokens) = chunk["usage"]["completion_tokens"].as_u64() {
        answer.completion_tokens = tokens;
    }
    Ok(())
}

fn refusal(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    parsed
        .and_then(|body| body["error"]["message"].as_str().map(str::to_owned))
        .unwrap_or_else(|| body.to_owned())
}
