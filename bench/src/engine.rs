//! An engine that answers at once, so that a measurement shows the proxy and not the model.
//!
//! The request says what it wants: `"stream":true` gives 200 events, each its own write, or with the prompt `idle` one
//! event and then nothing; a path that ends in `/models` gives the list of models, for which peers ask, and one that ends in `/metrics` a page that a vLLM had.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Events of a stream.
pub(crate) const EVENTS: usize = 200;

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello! How can I help you today?"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}"#;
const MODELS: &str =
    r#"{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"bench"}]}"#;
const METRICS: &str = include_str!("../../crates/router/engines/fixtures/vllm-0.32-metrics.txt");
const EVENT: &str = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#;
const USAGE: &str = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":199,"total_tokens":208}}"#;
const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// Serves for ever.
pub(crate) async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that leaves ends its own connection only.
            let _ = answer_all(stream).await;
        });
    }
}

async fn answer_all(mut stream: TcpStream) -> anyhow::Result<()> {
    let (whole, models, metrics) = (json(ANSWER), json(MODELS), json(METRICS));
    let mut buffer = Vec::with_capacity(32 << 10);
    loop {
        let Some((size, wish)) = wish(&buffer) else {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        buffer.drain(..size);
        match wish {
            Wish::Whole => stream.write_all(whole.as_bytes()).await?,
            Wish::Models => stream.write_all(models.as_bytes()).await?,
            Wish::Metrics => stream.write_all(metrics.as_bytes()).await?,
            Wish::Stream => stream_events(&mut stream).await?,
            Wish::Idle => {
                stream.write_all(STREAM_HEAD.as_bytes()).await?;
                stream.write_all(&chunk(EVENT)).await?;
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
        }
    }
}

fn json(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

async fn stream_events(stream: &mut TcpStream) -> anyhow::Result<()> {
    let event = chunk(EVENT);
    stream.write_all(STREAM_HEAD.as_bytes()).await?;
    for _ in 1..EVENTS {
        stream.write_all(&event).await?;
        // Let the others go on, as an engine makes one token of each sequence per step.
        tokio::task::yield_now().await;
    }
    let mut end = chunk(USAGE);
    end.extend(chunk("data: [DONE]"));
    end.extend(b"0\r\n\r\n");
    Ok(stream.write_all(&end).await?)
}

fn chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\n\n\r\n", event.len() + 2).into_bytes()
}

enum Wish {
    Whole,
    Models,
    Metrics,
    Stream,
    Idle,
}

/// The first complete request in `buffer`: its size and what it asks for.
fn wish(buffer: &[u8]) -> Option<(usize, Wish)> {
    let head_end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..head_end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let size = head_end + length.unwrap_or(0);
    let body = buffer.get(head_end..size)?;
    let line = head.lines().next().unwrap_or_default();
    let has = |part: &[u8]| memchr::memmem::find(body, part).is_some();
    let wish = match has(br#""stream":true"#) {
        _ if line.contains("/models ") => Wish::Models,
        _ if line.contains("/metrics ") => Wish::Metrics,
        true if has(br#""prompt":"idle""#) => Wish::Idle,
        true => Wish::Stream,
        false => Wish::Whole,
    };
    Some((size, wish))
}
