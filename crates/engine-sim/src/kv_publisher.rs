//! Tells subscribers what the cache holds: the messages of vLLM and SGLang, over ZMQ.
//!
//! One task owns the socket and numbers the messages; a second answers those who ask for messages
//! again. Both end with the engine, whose channel feeds them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kthena_kv_events::events::{self, Batch, EngineHash, GPU, Layout, Removed, Stored, encode};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use zeromq::{PubSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use crate::config::{Dialect, EngineConfig};
use crate::core::seconds_since_1970;
use crate::http::EngineError;
use crate::kv_cache::{BlockHash, KvEvent};

/// Steps whose changes may wait for the task; the engine waits beyond that.
const QUEUE: usize = 256;
/// The number that ends an answer to someone who asked again: minus one.
const END: [u8; 8] = [0xff; 8];

/// An open socket.
pub(crate) struct Publisher {
    /// Where it is.
    pub(crate) endpoint: String,
    /// Where messages are asked for again.
    pub(crate) replay: Option<String>,
    /// Takes the changes of each step.
    pub(crate) events: mpsc::Sender<Vec<KvEvent>>,
}

/// The last messages, with their numbers.
type Buffer = Arc<Mutex<VecDeque<(u64, Bytes)>>>;

/// How changes become messages.
struct Voice {
    topic: Bytes,
    layout: Layout,
    dialect: Dialect,
    next: u64,
}

impl Publisher {
    /// Opens the sockets that the configuration names, if it names any.
    pub(crate) async fn open(config: &EngineConfig) -> Result<Option<Self>, EngineError> {
        let Some(settings) = &config.kv_events else {
            return Ok(None);
        };
        let mut socket = PubSocket::new();
        let endpoint = bind(&mut socket, &settings.endpoint, config).await?;
        let buffer = Buffer::default();
        let mut replay = None;
        let mut replaying = None;
        if let Some(wanted) = &settings.replay_endpoint {
            let mut socket = RouterSocket::new();
            replay = Some(bind(&mut socket, wanted, config).await?);
            let task = tokio::spawn(answer(socket, buffer.clone()));
            replaying = Some(AbortOnDropHandle::new(task));
        }
        let voice = Voice {
            topic: Bytes::from(settings.topic.clone()),
            layout: settings.layout,
            dialect: config.dialect,
            next: 0,
        };
        let kept = settings.buffer;
        let (events, changes) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            publish(socket, changes, voice, &buffer, kept).await;
            drop(replaying);
        });
        Ok(Some(Self {
            endpoint,
            replay,
            events,
        }))
    }
}

/// Opens a socket; a star for the host is the engine's own address.
async fn bind(
    socket: &mut impl Socket,
    wanted: &str,
    config: &EngineConfig,
) -> Result<String, EngineError> {
    let host = match config.host {
        std::net::IpAddr::V4(host) => host.to_string(),
        std::net::IpAddr::V6(host) => format!("[{host}]"),
    };
    let endpoint = wanted.replacen('*', &host, 1);
    match socket.bind(&endpoint).await {
        Ok(bound) => Ok(bound.to_string()),
        Err(error) => Err(EngineError::Publish {
            endpoint,
            reason: error.to_string(),
        }),
    }
}

async fn publish(
    mut socket: PubSocket,
    mut changes: mpsc::Receiver<Vec<KvEvent>>,
    mut voice: Voice,
    buffer: &Buffer,
    kept: usize,
) {
    while let Some(step) = changes.recv().await {
        let (sequence, payload) = voice.next_payload(step);
        let frames = vec![
            voice.topic.clone(),
            Bytes::copy_from_slice(&sequence.to_be_bytes()),
            payload.clone(),
        ];
        remember(buffer, kept, sequence, payload);
        let Ok(message) = ZmqMessage::try_from(frames) else {
            continue;
        };
        if let Err(error) = socket.send(message).await {
            tracing::debug!(%error, "cache events not sent");
        }
    }
}

fn remember(buffer: &Buffer, kept: usize, sequence: u64, payload: Bytes) {
    let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
    buffer.push_back((sequence, payload));
    while buffer.len() > kept {
        buffer.pop_front();
    }
}

/// Answers each question `[who, "", first number]` with the messages from there on and an end mark.
async fn answer(mut socket: RouterSocket, buffer: Buffer) {
    loop {
        let question = match socket.recv().await {
            Ok(question) => question.into_vec(),
            Err(error) => {
                tracing::debug!(%error, "no more questions about cache events");
                return;
            }
        };
        let [who, delimiter, first] = &question[..] else {
            continue;
        };
        let Ok(first) = first.as_ref().try_into().map(u64::from_be_bytes) else {
            continue;
        };
        let missed: Vec<(u64, Bytes)> = {
            let buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
            let from = buffer.partition_point(|(number, _)| *number < first);
            buffer.range(from..).cloned().collect()
        };
        let messages = missed
            .into_iter()
            .map(|(number, payload)| (number.to_be_bytes(), payload))
            .chain([(END, Bytes::new())]);
        for (number, payload) in messages {
            let frames = vec![
                who.clone(),
                delimiter.clone(),
                Bytes::copy_from_slice(&number),
                payload,
            ];
            let Ok(message) = ZmqMessage::try_from(frames) else {
                continue;
            };
            if let Err(error) = socket.send(message).await {
                tracing::debug!(%error, "answer about cache events not sent");
                break;
            }
        }
    }
}

impl Voice {
    fn next_payload(&mut self, step: Vec<KvEvent>) -> (u64, Bytes) {
        let batch = Batch {
            timestamp: seconds_since_1970(),
            rank: Some(0),
            events: step.into_iter().map(|change| self.told(change)).collect(),
            ..Batch::default()
        };
        let sequence = self.next;
        self.next += 1;
        (sequence, encode(&batch, self.layout).into())
    }

    fn told(&self, change: KvEvent) -> events::KvEvent {
        let names = |hashes: &[BlockHash]| hashes.iter().map(|hash| self.name(*hash)).collect();
        match change {
            KvEvent::BlockStored {
                hashes,
                parent,
                tokens,
                block_size,
                adapter,
            } => events::KvEvent::Stored(Stored {
                hashes: names(&hashes),
                parent: parent.map(|hash| self.name(hash)),
                tokens,
                block_size,
                adapter: adapter.map(|name| events::Adapter {
                    id: Some(number_of(&name)),
                    name: Some(name),
                }),
                medium: Some(GPU.into()),
                group: 0,
                keyed: false,
            }),
            KvEvent::BlockRemoved { hashes } => events::KvEvent::Removed(Removed {
                hashes: names(&hashes),
                medium: Some(GPU.into()),
                group: 0,
            }),
            KvEvent::AllBlocksCleared => events::KvEvent::Cleared,
        }
    }

    /// vLLM's names are unsigned, SGLang's signed.
    fn name(&self, BlockHash(hash): BlockHash) -> EngineHash {
        match self.dialect {
            Dialect::Vllm => hash.into(),
            Dialect::Sglang => hash.cast_signed().into(),
        }
    }
}

/// A steady number over 0 for an adapter's name.
fn number_of(name: &str) -> i64 {
    let bytes = name.bytes();
    let hash = bytes.fold(7_u32, |hash, byte| hash.wrapping_mul(31) ^ u32::from(byte));
    i64::from(hash) + 1
}
