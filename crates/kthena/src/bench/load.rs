//! A load of real requests: as many at a time as the workload says, streamed, timed at the client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use kthena_scheduling_sim::run::{Figures, session_name};
use kthena_scheduling_sim::workload::{Session, Turn, Workload};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::progress::Progress;

/// Distinct words, each a token of its own with the space before it.
const WORDS: u64 = 26 * 26 * 26;

struct Load {
    client: Client,
    url: String,
    seed: u64,
    begun: Instant,
    figures: Mutex<Figures>,
    places: Option<Semaphore>,
    share: f64,
}

/// What one answer came to.
struct Answer {
    first: Duration,
    text: String,
    prompt: u64,
    cached: u64,
}

/// Sends all of `workload` to the router at `router`.
pub(super) async fn run(
    router: SocketAddr,
    workload: &Workload,
    seed: u64,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Figures> {
    let client = Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(usize::MAX)
        .build()
        .context("client")?;
    let load = Arc::new(Load {
        client,
        url: format!("http://{router}/v1/completions"),
        seed,
        begun: Instant::now(),
        figures: Mutex::default(),
        places: workload.concurrency.map(Semaphore::new),
        share: 1.0 / f64::from(u32::try_from(workload.sessions.len().max(1)).unwrap_or(u32::MAX)),
    });
    let mut tasks = JoinSet::new();
    for (number, session) in workload.sessions.iter().enumerate() {
        let (load, progress) = (Arc::clone(&load), Arc::clone(progress));
        let session = session.clone();
        tasks.spawn(async move {
            load.session(number as u64, &session).await;
            progress.add(load.share);
        });
    }
    let all = async { while tasks.join_next().await.is_some() {} };
    stop.run_until_cancelled(all).await.context("stopped")?;
    let figures = load.figures.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(*figures)
}

impl Load {
    async fn session(&self, number: u64, session: &Session) {
        let place = match &self.places {
            // Never closed, so there is always a place in the end.
            Some(places) => places.acquire().await.ok(),
            None => None,
        };
        sleep_until(self.begun + session.start).await;
        let mut text = String::new();
        if let Some(shared) = session.shared {
            words(
                &mut text,
                (1, self.seed, shared.group.into()),
                shared.tokens,
            );
        }
        for (at, turn) in session.turns.iter().enumerate() {
            tokio::time::sleep(turn.pause).await;
            words(&mut text, (2, self.seed ^ number, at as u64), turn.own);
            let sent = Instant::now();
            let answer = self.ask(session, turn, &text).await;
            let (latency, now) = (sent.elapsed(), self.begun.elapsed());
            let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(answer) = answer else {
                figures.failed();
                break;
            };
            figures.answered(now, answer.first, latency);
            figures.prompt(answer.prompt, answer.cached);
            drop(figures);
            text.push_str(&answer.text);
        }
        drop(place);
    }

    async fn ask(&self, session: &Session, turn: &Turn, prompt: &str) -> Result<Answer> {
        let body = json!({
            "model": session_name(session),
            "prompt": prompt,
            "max_tokens": turn.output,
            "ignore_eos": true,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let sent = Instant::now();
        let response = self.client.post(&self.url).json(&body).send().await?;
        read(response.error_for_status()?, sent).await
    }
}

/// Reads a stream of events to its end.
async fn read(mut response: Response, sent: Instant) -> Result<Answer> {
    let mut first = None;
    let mut answer = Answer {
        first: Duration::ZERO,
        text: String::new(),
        prompt: 0,
        cached: 0,
    };
    let mut rest: Vec<u8> = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        first.get_or_insert_with(|| sent.elapsed());
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data: ") {
                take(data, &mut answer);
            }
        }
    }
    answer.first = first.context("an empty answer")?;
    anyhow::ensure!(answer.prompt > 0, "the answer broke off");
    Ok(answer)
}

fn take(data: &[u8], answer: &mut Answer) {
    // The last event is no JSON.
    let Ok(event) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    if let Some(text) = event["choices"][0]["text"].as_str() {
        answer.text.push_str(text);
    }
    if let Some(tokens) = event["usage"]["prompt_tokens"].as_u64() {
        let cached = &event["usage"]["prompt_tokens_details"]["cached_tokens"];
        answer.prompt = tokens;
        answer.cached = cached.as_u64().unwrap_or(0);
    }
}

/// Appends `count` words of the text named `name`; four bytes each, as in virtual time.
fn words(text: &mut String, name: (u64, u64, u64), count: u32) {
    for token in kthena_scheduling_sim::words(name, count) {
        let mut number = token % WORDS;
        text.push(' ');
        for _ in 0..3 {
            let letter = u8::try_from(number % 26).unwrap_or(0);
            text.push(char::from(b'a' + letter));
            number /= 26;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_tokens() {
        let mut text = String::new();
        words(&mut text, (1, 2, 3), 50);
        assert_eq!(text.len(), 200);
        assert_eq!(kthena_engine_sim::text::tokenizer::encode(&text).len(), 50);
    }

    #[test]
    fn usage_and_text_are_read_from_events() {
        let mut answer = Answer {
            first: Duration::ZERO,
            text: String::new(),
            prompt: 0,
            cached: 0,
        };
        take(br#"{"choices":[{"text":" one"}]}"#, &mut answer);
        take(
            br#"{"choices":[],"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}}"#,
            &mut answer,
        );
        take(b"[DONE]", &mut answer);
        assert_eq!(
            (answer.text.as_str(), answer.prompt, answer.cached),
            (" one", 7, 4)
        );
    }
}
