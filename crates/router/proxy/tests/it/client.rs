//! A client that sees bytes.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Fails the test instead of hanging it.
pub(crate) async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("it did not happen in time")
}

pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Payload, chunks taken apart.
    pub(crate) body: Vec<u8>,
    /// The body ended as its head said.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).into_iter().next()
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let field = |line: &'_ str| line.split_once(':').map(|(a, b)| (a.to_owned(), b.len()));
        self.head
            .lines()
            .skip(1)
            .filter(|line| field(line).is_some_and(|(other, _)| other.eq_ignore_ascii_case(name)))
            .map(|line| line.split_once(':').unwrap().1.trim())
            .collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A chat request with this body.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    post_with(path, "", body)
}

/// As [`post`], with header lines that each end in CRLF.
pub(crate) fn post_with(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: router\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

pub(crate) const CHAT: &str = "/v1/chat/completions";

pub(crate) fn chat(model: &str) -> Vec<u8> {
    post(
        CHAT,
        &format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#),
    )
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: router\r\n\r\n").into_bytes()
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask(&mut self, bytes: &[u8]) -> Answer {
        self.send(bytes).await;
        self.answer().await
    }

    /// Reads until `needle` has arrived; what was read stays to be read.
    pub(crate) async fn until(&mut self, needle: &str) {
        soon(async {
            while !contains(&self.buffer, needle.as_bytes()) {
                assert!(
                    self.read().await > 0,
                    "closed before {needle:?} came: {:?}",
                    self.received()
                );
            }
        })
        .await;
    }

    pub(crate) fn received(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Waits for the router to close the connection.
    pub(crate) async fn until_closed(&mut self) {
        soon(async { while self.read().await > 0 {} }).await;
    }

    async fn read(&mut self) -> usize {
        self.stream.read_buf(&mut self.buffer).await.unwrap_or(0)
    }

    /// Reads the next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        soon(self.read_answer()).await
    }

    async fn read_answer(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            assert!(
                self.read().await > 0,
                "closed before an answer: {:?}",
                self.received()
            );
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        self.buffer.drain(..end);
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
            complete: false,
        };
        if answer.header("transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut answer).await;
        } else if let Some(length) = answer
            .header("content-length")
            .map(|value| value.parse().unwrap())
        {
            while self.buffer.len() < length && self.read().await > 0 {}
            answer.complete = self.buffer.len() >= length;
            answer.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else {
            while self.read().await > 0 {}
            answer.complete = true;
            answer.body = std::mem::take(&mut self.buffer);
        }
        answer
    }

    async fn read_chunks(&mut self, answer: &mut Answer) {
        loop {
            let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") else {
                if self.read().await == 0 {
                    return;
                }
                continue;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&self.buffer[..at]).unwrap(), 16)
                .unwrap();
            while self.buffer.len() < at + 2 + size + 2 {
                if self.read().await == 0 {
                    return;
                }
            }
            answer
                .body
                .extend_from_slice(&self.buffer[at + 2..at + 2 + size]);
            self.buffer.drain(..at + 2 + size + 2);
            if size == 0 {
                answer.complete = true;
                return;
            }
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

impl Client {
    /// Reads an interim answer.
    pub(crate) async fn answer_without_body(&mut self) -> String {
        self.until("\r\n\r\n").await;
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }
}
