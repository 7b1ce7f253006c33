//! A client that does not let anything pass: what it is told must be whole, its own, and said once.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

/// Longest that a request may take; far above any time limit of the router.
const ANSWER: Duration = Duration::from_secs(90);

/// How a request ended, in one of the ways that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the whole answer.
    Whole,
    /// With an error that says what happened.
    Refused(u16),
    /// After the first byte, with a connection that broke before the answer was whole.
    Broken,
}

/// A client of one model.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    model: String,
    /// Words after the mark.
    filler: String,
}

impl Client {
    pub(crate) fn new(router: &str, model: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: format!("{router}/v1/chat/completions"),
            model: model.to_owned(),
            filler: String::new(),
        }
    }

    /// Asks for answers that are longer by so many words.
    pub(crate) fn with_words(self, count: usize) -> Self {
        Self {
            filler: " and so on".repeat(count / 3),
            ..self
        }
    }

    /// Sends request `number`, streamed or not; the error says what must not happen.
    pub(crate) async fn ask(&self, number: u32) -> Result<Outcome, String> {
        let answered = tokio::time::timeout(ANSWER, self.answer(number)).await;
        answered
            .unwrap_or_else(|_| Err("no answer".to_owned()))
            .map_err(|violation| format!("request {number}: {violation}"))
    }

    async fn answer(&self, number: u32) -> Result<Outcome, String> {
        let streamed = !number.is_multiple_of(3);
        let mark = format!("mark-{number}-end");
        let words = format!("{mark}{}", self.filler);
        let body = json!({
            "model": self.model, "stream": streamed, "max_tokens": 64 + words.len(),
            "messages": [{"role": "user", "content": words}],
        });
        let sent = self.http.post(&self.url).json(&body).send().await;
        let answer = sent.map_err(|error| format!("neither answer nor error: {error:?}"))?;
        let status = answer.status();
        let Ok(body) = answer.text().await else {
            return Ok(Outcome::Broken);
        };
        if status != StatusCode::OK {
            return refused(status, &body);
        }
        let text = if streamed {
            stream(&body)?
        } else {
            whole(&body)?
        };
        match text.matches(&mark).count() {
            1 => Ok(Outcome::Whole),
            count => Err(format!(
                "{mark} stands {count} times in the answer {text:?}"
            )),
        }
    }
}

fn refused(status: StatusCode, body: &str) -> Result<Outcome, String> {
    let told: Value = serde_json::from_str(body).unwrap_or_default();
    let message = told["error"]["message"].as_str().unwrap_or_default();
    let temporary = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    if !temporary || message.is_empty() {
        return Err(format!("{status} with {body:?}"));
    }
    Ok(Outcome::Refused(status.as_u16()))
}

fn whole(body: &str) -> Result<String, String> {
    let answer: Value =
        serde_json::from_str(body).map_err(|error| format!("{error} in {body:?}"))?;
    match answer["choices"].as_array().map(Vec::as_slice) {
        Some([choice]) => text(&choice["message"]["content"]),
        _ => Err(format!("not one choice in {body:?}")),
    }
}

/// The text of a stream that ended as a stream ends: one id, one finish, one `[DONE]`, which is last.
fn stream(body: &str) -> Result<String, String> {
    let events: Vec<&str> = body
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .collect();
    let Some((&"[DONE]", chunks)) = events.split_last() else {
        return Err(format!(
            "a broken stream ended as if it were whole: {body:?}"
        ));
    };
    let (mut said, mut ids, mut finishes) = (String::new(), Vec::new(), 0);
    for chunk in chunks {
        let chunk: Value =
            serde_json::from_str(chunk).map_err(|error| format!("{error} in {body:?}"))?;
        ids.push(chunk["id"].to_string());
        let choice = &chunk["choices"][0];
        finishes += u32::from(choice["finish_reason"].is_string());
        said.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
    }
    ids.dedup();
    if ids.len() != 1 || finishes != 1 {
        return Err(format!("two answers in one: {body:?}"));
    }
    Ok(said)
}

fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| format!("{value} is no text"))
}
