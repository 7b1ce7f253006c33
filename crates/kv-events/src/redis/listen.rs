//! Hears one engine: its messages, decoded, with their numbers.

use std::time::Duration;

use tokio::sync::mpsc;
use zeromq::{Socket, SocketRecv, SubSocket};

use crate::events::{Batch, Message, decode};

/// Before a socket that failed is opened again.
const PAUSE: Duration = Duration::from_secs(5);

/// Where an engine speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenConfig {
    /// `tcp://localhost:5557`.
    pub endpoint: String,
    /// The topic of messages to take; all if empty.
    pub topic: String,
    /// The rank of messages that do not say theirs.
    pub rank: u32,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Who says it.
    pub rank: u32,
    /// Its number.
    pub sequence: Option<u64>,
    /// What it says.
    pub batch: Batch,
}

/// Passes on what an engine says until nobody listens; failures are waited out.
///
/// When the listener is slow, messages wait in the socket; what is lost there shows as a gap in the
/// numbers.
pub async fn listen(config: ListenConfig, heard: mpsc::Sender<Heard>) {
    while !heard.is_closed() {
        match hear(&config, &heard).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(endpoint = config.endpoint, %error, "cache events cannot be heard");
            }
        }
        tokio::select! {
            () = heard.closed() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn hear(config: &ListenConfig, heard: &mpsc::Sender<Heard>) -> Result<(), zeromq::ZmqError> {
    let mut socket = SubSocket::new();
    let connecting = async {
        socket.connect(&config.endpoint).await?;
        // By prefix: the exact comparison follows.
        socket.subscribe(&config.topic).await
    };
    tokio::select! {
        () = heard.closed() => return Ok(()),
        connected = connecting => connected?,
    }
    tracing::info!(endpoint = config.endpoint, "listening to cache events");
    loop {
        let frames = tokio::select! {
            () = heard.closed() => return Ok(()),
            message = socket.recv() => message?.into_vec(),
        };
        let Some(message) = Message::from_frames(&frames) else {
            continue;
        };
        if !message.is_on(&config.topic) {
            continue;
        }
        let batch = decode(message.payload).unwrap_or_else(|error| {
            tracing::warn!(%error, "a message of cache events cannot be read");
            // It counts as one that was missed.
            Batch {
                faulty: 1,
                missed_removals: 1,
                ..Batch::default()
            }
        });
        let message = Heard {
            rank: batch.rank.unwrap_or(config.rank),
            sequence: message.sequence,
            batch,
        };
        if heard.send(message).await.is_err() {
            return Ok(());
        }
    }
}
