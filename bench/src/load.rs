//! Clients: closed loop, open loop, and streams that are only held open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A request, ready to be sent.
pub(crate) fn request(path: &str, body: &str) -> Arc<[u8]> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
    .into()
}

/// Sends `total` requests over `connections` connections, each of which sends the next once it has its answer.
/// Returns the time it took.
pub(crate) async fn closed(
    target: SocketAddr,
    request: &Arc<[u8]>,
    connections: usize,
    total: usize,
) -> anyhow::Result<Duration> {
    let left = Arc::new(AtomicUsize::new(total));
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (request, left) = (Arc::clone(request), Arc::clone(&left));
        clients.spawn(async move {
            let mut client = Client::connect(target).await?;
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
            {
                client.ask(&request).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(started.elapsed())
}

/// Sends `total` requests at `rate` a second whether or not answers keep up. Returns the times from the moment a
/// request was due to the end of its answer, sorted.
pub(crate) async fn open(
    target: SocketAddr,
    request: &Arc<[u8]>,
    rate: u32,
    total: u32,
) -> anyhow::Result<Vec<Duration>> {
    const CONNECTIONS: u32 = 32;
    let started = Instant::now() + Duration::from_millis(50);
    let mut clients = JoinSet::new();
    for first in 0..CONNECTIONS {
        let request = Arc::clone(request);
        clients.spawn(async move {
            let mut client = Client::connect(target).await?;
            let mut times = Vec::new();
            for number in (first..total).step_by(CONNECTIONS as usize) {
                let due = started + Duration::from_secs(1) * number / rate;
                tokio::time::sleep_until(due).await;
                // The timer is coarse; its own lateness is not the proxy's.
                let sent = Instant::now();
                client.ask(&request).await?;
                times.push(sent.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(client) = clients.join_next().await {
        times.extend(client??);
    }
    times.sort();
    Ok(times)
}

/// Streams that have begun and now say nothing. They end when this drops.
pub(crate) async fn idle_streams(
    target: SocketAddr,
    request: &[u8],
    count: usize,
) -> anyhow::Result<Vec<Client>> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = Client::connect(target).await?;
        client.stream.write_all(request).await?;
        while !client.buffer.ends_with(b"\n\n\r\n") {
            ensure!(
                client.stream.read_buf(&mut client.buffer).await? > 0,
                "an idle stream was closed"
            );
        }
        client.buffer = Vec::new();
        streams.push(client);
    }
    Ok(streams)
}

/// A connection of a client.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(target: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 << 10),
        })
    }

    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut ends: Option<End> = None;
        loop {
            ensure!(
                self.stream.read_buf(&mut self.buffer).await? > 0,
                "the proxy closed a connection"
            );
            if ends.is_none() {
                ends = End::find(&self.buffer)?;
            }
            match ends {
                Some(End::At(size)) if self.buffer.len() >= size => return Ok(()),
                Some(End::LastChunk) if self.buffer.ends_with(b"\r\n0\r\n\r\n") => return Ok(()),
                // A stream's past is of no interest, only whether its end has come.
                Some(End::LastChunk) if self.buffer.len() > 32 << 10 => {
                    self.buffer.drain(..self.buffer.len() - 16);
                }
                _ => {}
            }
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    At(usize),
    LastChunk,
}

impl End {
    fn find(buffer: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(head_end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&buffer[..head_end])?;
        ensure!(head.starts_with("HTTP/1.1 200"), "not an answer: {head}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        Ok(Some(length.map_or(Self::LastChunk, |length| {
            Self::At(head_end + 4 + length)
        })))
    }
}
