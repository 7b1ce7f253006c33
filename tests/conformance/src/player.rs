//! Plays cases against a server and reports every difference.

mod stream;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::StreamExt;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::case::{Case, Events, Only, Request, Step, Watch, load};
use crate::matching::differences;
use stream::EventStream;

/// How long an expectation marked `eventually` may take.
const EVENTUALLY: Duration = Duration::from_secs(30);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// Cases of one file that run at the same time.
const SIDE_BY_SIDE: usize = 8;

/// A server under test.
#[derive(Clone)]
pub struct Server {
    /// Which of the two it is.
    pub kind: Only,
    /// How it is asked.
    pub client: Client,
}

/// Plays all cases of `file` that `wanted` accepts; the error lists each case that failed.
pub async fn play_file(
    server: &Server,
    file: &Path,
    wanted: Option<&str>,
) -> anyhow::Result<usize> {
    let area = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("cases")
        .replace('_', "-");
    let cases = load(file)?
        .into_iter()
        .filter(|case| case.only.is_none_or(|only| only == server.kind));
    let cases = cases.filter(|case| wanted.is_none_or(|part| case.name.contains(part)));
    let played = futures::stream::iter(cases.enumerate()).map(|(number, case)| {
        let namespace = format!("{area}-{number}");
        async move {
            let outcome = play(server, &namespace, &case).await;
            outcome.map_err(|error| format!("case {:?} ({namespace}): {error:#}", case.name))
        }
    });
    let outcomes: Vec<Result<(), String>> = played.buffer_unordered(SIDE_BY_SIDE).collect().await;
    let count = outcomes.len();
    let failures: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    ensure!(
        failures.is_empty(),
        "{} of {count} cases differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    Ok(count)
}

/// Plays one case in a new namespace.
pub async fn play(server: &Server, namespace: &str, case: &Case) -> anyhow::Result<()> {
    let mut session = Session {
        client: server.client.clone(),
        variables: BTreeMap::from([
            ("ns".to_owned(), namespace.to_owned()),
            ("core".to_owned(), format!("/api/v1/namespaces/{namespace}")),
        ]),
        watches: BTreeMap::new(),
    };
    let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let plain = BTreeMap::new();
    let made = session.send(
        "POST",
        "/api/v1/namespaces",
        &plain,
        "application/json",
        made.to_string(),
    );
    let made = made.await.context("cannot make the namespace")?;
    ensure!(made.code == 201, "cannot make the namespace: {}", made.text);
    for (position, step) in case.steps.iter().enumerate() {
        let played = match step {
            Step::Request(request) => session.request(request).await,
            Step::Watch(watch) => session.watch(watch).await,
            Step::Events(events) => session.events(events).await,
        };
        played.with_context(|| format!("step {}", position + 1))?;
    }
    Ok(())
}

struct Session {
    client: Client,
    variables: BTreeMap<String, String>,
    watches: BTreeMap<String, EventStream>,
}

struct Answer {
    code: u16,
    headers: Value,
    text: String,
    body: Option<Value>,
}

impl Session {
    async fn request(&mut self, request: &Request) -> anyhow::Result<()> {
        let end = Instant::now() + EVENTUALLY;
        loop {
            let late = !request.eventually || Instant::now() >= end;
            let answer = self.ask(request).await?;
            let found = self.judge(request, &answer)?;
            if found.is_empty() {
                return self.save(request, &answer);
            }
            ensure!(!late, "{}\n    {}", request.line, found.join("\n    "));
            sleep(PAUSE).await;
        }
    }

    async fn ask(&self, request: &Request) -> anyhow::Result<Answer> {
        let line = self.filled(&request.line);
        let (method, path) = line
            .split_once(' ')
            .context("a request line is a method and a path")?;
        let body = match (&request.text, &request.body) {
            (Some(text), _) => self.filled(text),
            (None, Some(body)) => self.filled(&body.to_string()),
            (None, None) => String::new(),
        };
        let media = media_type(request.content_type.as_deref().unwrap_or("json"));
        self.send(method, path, &request.headers, media, body).await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &BTreeMap<String, String>,
        media: &str,
        body: String,
    ) -> anyhow::Result<Answer> {
        let mut request = http::Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header("content-type", media);
        }
        for (name, value) in headers {
            request = request.header(name, self.filled(value));
        }
        let request = request.body(Body::from(body.into_bytes()))?;
        let answer = timeout(ANSWER, self.client.send(request))
            .await
            .context("no answer in time")??;
        let (head, body) = answer.into_parts();
        let bytes = timeout(ANSWER, body.collect())
            .await
            .context("the body does not end")??
            .to_bytes();
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| {
            (
                name.as_str().to_owned(),
                value.to_str().unwrap_or("").into(),
            )
        });
        Ok(Answer {
            code: head.status.as_u16(),
            headers: Value::Object(headers.collect()),
            text: String::from_utf8_lossy(&bytes).into_owned(),
            body: serde_json::from_slice(&bytes).ok(),
        })
    }

    fn judge(&self, request: &Request, answer: &Answer) -> anyhow::Result<Vec<String>> {
        let usual = if request.line.starts_with("POST ") {
            201
        } else {
            200
        };
        let code = request.code.unwrap_or(usual);
        let mut found = Vec::new();
        if answer.code != code {
            found.push(format!(
                "expected {code}, got {}: {}",
                answer.code,
                start(&answer.text)
            ));
        }
        let body = answer.body.as_ref();
        let field = |name: &str| body.and_then(|body| body.get(name));
        if let Some(reason) = &request.reason {
            found.extend(
                differences(&json!(reason), field("reason"))
                    .iter()
                    .map(|d| format!("reason{d}")),
            );
        }
        if let Some(message) = &request.message {
            found.extend(
                differences(&self.expected(message)?, field("message"))
                    .iter()
                    .map(|d| format!("message{d}")),
            );
        }
        if let Some(expected) = &request.body_match {
            found.extend(differences(&self.expected(expected)?, body));
        }
        if let Some(expected) = &request.text_match {
            let text = Value::from(answer.text.as_str());
            found.extend(
                differences(&self.expected(expected)?, Some(&text))
                    .iter()
                    .map(|d| format!("text{d}")),
            );
        }
        if let Some(expected) = &request.header_match {
            found.extend(
                differences(&self.expected(expected)?, Some(&answer.headers))
                    .iter()
                    .map(|d| format!("header {d}")),
            );
        }
        Ok(found)
    }

    fn save(&mut self, request: &Request, answer: &Answer) -> anyhow::Result<()> {
        for (name, pointer) in &request.save {
            let value = answer.body.as_ref().and_then(|body| body.pointer(pointer));
            let value = value.with_context(|| format!("nothing at {pointer} to save as {name}"))?;
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            self.variables.insert(name.clone(), text);
        }
        Ok(())
    }

    async fn watch(&mut self, watch: &Watch) -> anyhow::Result<()> {
        let mut request = http::Request::get(self.filled(&watch.watch));
        for (name, value) in &watch.headers {
            request = request.header(name, self.filled(value));
        }
        let answer = timeout(ANSWER, self.client.send(request.body(Body::empty())?)).await;
        let answer = answer.with_context(|| format!("no answer in time: {}", watch.watch))??;
        let code = answer.status().as_u16();
        ensure!(
            code == 200,
            "{}: expected a stream, got {code}",
            watch.watch
        );
        self.watches
            .insert(watch.name.clone(), EventStream::new(answer.into_body()));
        Ok(())
    }

    async fn events(&mut self, expected: &Events) -> anyhow::Result<()> {
        let mut watch = self
            .watches
            .remove(&expected.of)
            .context("no watch of that name is open")?;
        for (position, wanted) in expected.events.iter().enumerate() {
            let (kind, object) = wanted
                .iter()
                .next()
                .context("an expected event has a type")?;
            let event = loop {
                let next = timeout(EVENTUALLY, watch.next()).await;
                let next = next.with_context(|| {
                    format!("event {} does not come: {kind} {object}", position + 1)
                })??;
                let Some(event) = next else {
                    bail!(
                        "the stream ended before event {}: {kind} {object}",
                        position + 1
                    )
                };
                if event["type"] != "BOOKMARK" || kind == "BOOKMARK" {
                    break event;
                }
            };
            let whole = json!({"type": kind, "object": self.expected(object)?});
            let found = differences(&whole, Some(&event));
            ensure!(
                found.is_empty(),
                "event {}: {}",
                position + 1,
                found.join("; ")
            );
        }
        if expected.closed {
            let end = timeout(EVENTUALLY, watch.next())
                .await
                .context("the stream does not end")??;
            ensure!(end.is_none(), "expected the end of the stream, got {end:?}");
        }
        self.watches.insert(expected.of.clone(), watch);
        Ok(())
    }

    /// Replaces `{name}` of every known variable; other braces stay.
    fn filled(&self, text: &str) -> String {
        let fill = |text: String, (name, value): (&String, &String)| {
            text.replace(&format!("{{{name}}}"), value)
        };
        self.variables.iter().fold(text.to_owned(), fill)
    }

    fn expected(&self, value: &Value) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.filled(&value.to_string()))?)
    }
}

fn media_type(short: &str) -> &str {
    match short {
        "json" => "application/json",
        "merge" => "application/merge-patch+json",
        "json-patch" => "application/json-patch+json",
        "strategic" => "application/strategic-merge-patch+json",
        "apply" => "application/apply-patch+yaml",
        full => full,
    }
}

fn start(text: &str) -> &str {
    text.char_indices()
        .nth(500)
        .map_or(text, |(end, _)| &text[..end])
}
