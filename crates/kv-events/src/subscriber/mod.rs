//! Listens to one engine's events over ZMQ and keeps its part of the index.
//!
//! An engine publishes what it stores and evicts; whoever comes late or loses the connection misses some of it. The
//! numbers of messages tell. What was missed is asked for again where the engine offers that; where it does not, the
//! engine's part is forgotten, because a block that may be gone is worse than one that is not known.
//!
//! # Invariants
//!
//! - Messages are applied in the order of their numbers, each once.
//! - After a gap that could not be filled, a message or removal that cannot be read, a restart, or a long silence without
//!   connection, nothing announced before is credited any more.
//! - No fault of an engine ends a subscription; it is tried again until the task is dropped.
//!
//! # Where to go next
//!
//! [`follow`] for the life of a subscription, `replay` for what is asked again, the index module for where it goes.

mod replay;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;
use zeromq::{Socket, SocketEvent, SocketOptions, SocketRecv, SubSocket, ZmqMessage};

use crate::events::{self, Message, Order, Progress};
use crate::index::Owner;

/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// First and longest wait before a connection is opened again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long an engine may be out of reach before its part is forgotten.
const GRACE: Duration = Duration::from_secs(10);

/// Where an engine, or one rank of it, publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Such as `tcp://10.0.0.1:5557`.
    pub events: String,
    /// Only messages of exactly this topic count; empty = all.
    pub topic: String,
    /// Where missed messages can be asked for, in the form of `events`.
    pub replay: Option<String>,
}

/// What all subscriptions together saw since the start.
#[derive(Debug, Default)]
pub struct Heard {
    batches: AtomicU64,
    faulty: AtomicU64,
    gaps: AtomicU64,
    connects: AtomicU64,
}

impl Heard {
    /// Batches applied.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Batches and events that could not be read.
    pub fn faulty(&self) -> u64 {
        self.faulty.load(Ordering::Relaxed)
    }

    /// Times that messages were missing.
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Connections that were opened.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }
}

/// Follows `source` for as long as it is polled. Dropping it makes the index forget the engine.
pub async fn follow(source: Source, owner: Owner, heard: Arc<Heard>) {
    let mut subscription = Subscription {
        source,
        owner,
        heard,
        order: Order::default(),
    };
    let mut wait = RETRY.0;
    let mut lost = None;
    loop {
        match subscription.connect().await {
            Ok(socket) => {
                wait = RETRY.0;
                subscription.listen(socket).await;
                lost = Some(Instant::now());
            }
            Err(fault) => {
                tracing::debug!(source = subscription.source.events, %fault, "no cache events yet");
            }
        }
        if lost.is_some_and(|since| since.elapsed() >= GRACE) {
            subscription.owner.reset();
            lost = None;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

struct Subscription {
    source: Source,
    owner: Owner,
    heard: Arc<Heard>,
    order: Order,
}

impl Subscription {
    async fn connect(&mut self) -> Result<SubSocket, zeromq::ZmqError> {
        let mut options = SocketOptions::default();
        options.connect_timeout(CONNECT);
        let mut socket = SubSocket::with_options(options);
        socket.connect(&self.source.events).await?;
        socket.subscribe(&self.source.topic).await?;
        self.heard.connects.fetch_add(1, Ordering::Relaxed);
        Ok(socket)
    }

    /// Applies what arrives until the connection is lost.
    async fn listen(&mut self, mut socket: SubSocket) {
        let mut changes = socket.monitor();
        loop {
            tokio::select! {
                biased;
                received = socket.recv() => match received {
                    Ok(message) => self.receive(&message).await,
                    Err(_) => return,
                },
                change = changes.next() => match change {
                    // It would open the connection again by itself, but then nobody here would know.
                    Some(SocketEvent::Disconnected(_) | SocketEvent::Closed) | None => return,
                    Some(_) => {}
                },
            }
        }
    }

    async fn receive(&mut self, message: &ZmqMessage) {
        let frames: smallvec::SmallVec<[&[u8]; 3]> = message.iter().map(AsRef::as_ref).collect();
        let Some(message) = Message::from_frames(&frames) else {
            return;
        };
        if !message.is_on(&self.source.topic) {
            return;
        }
        match self.order.observe(message.sequence) {
            Progress::Next => {}
            Progress::Late { missed } => self.fill(0, missed).await,
            Progress::Gap { from, missed } => {
                tracing::debug!(
                    source = self.source.events,
                    from,
                    missed,
                    "cache events were lost"
                );
                self.heard.gaps.fetch_add(1, Ordering::Relaxed);
                self.fill(from, missed).await;
            }
            Progress::Restart { missed } => {
                tracing::debug!(source = self.source.events, "the engine counts anew");
                self.owner.reset();
                self.fill(0, missed).await;
            }
        }
        self.apply(message.payload);
    }

    /// Asks for `missed` messages from number `from` on, and forgets everything before them if any is not there.
    async fn fill(&mut self, from: u64, missed: u64) {
        if missed == 0 {
            return;
        }
        let found = match &self.source.replay {
            Some(address) => replay::ask(address, from).await,
            None => Vec::new(),
        };
        let first = found.first().map(|(number, _)| *number);
        if first != Some(from) || !is_unbroken(&found) {
            self.owner.reset();
        }
        let end = from.saturating_add(missed);
        for (number, payload) in &found {
            // The message that showed the gap is applied after this, and those behind it are still to come.
            if *number < end {
                self.apply(payload);
            }
        }
    }

    fn apply(&mut self, payload: &[u8]) {
        let Ok(batch) = events::decode(payload) else {
            self.heard.faulty.fetch_add(1, Ordering::Relaxed);
            // Whatever it took away may be credited no longer.
            self.owner.reset();
            return;
        };
        self.heard.batches.fetch_add(1, Ordering::Relaxed);
        self.heard
            .faulty
            .fetch_add(u64::from(batch.faulty), Ordering::Relaxed);
        self.owner.apply(&batch);
    }
}

fn is_unbroken(found: &[(u64, Vec<u8>)]) -> bool {
    found
        .windows(2)
        .all(|pair| pair[0].0.checked_add(1) == Some(pair[1].0))
}

#[cfg(test)]
mod tests;
