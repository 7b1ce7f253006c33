use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use zeromq::{RouterSocket, Socket, SocketRecv, SocketSend, XPubSocket, ZmqMessage};

use super::{Heard, Source, follow};
use crate::events::{Batch, EngineHash, KvEvent, Layout, Stored, encode};
use crate::index::{Asked, CacheIndex, DEFAULT_BUDGET};

const DEADLINE: Duration = Duration::from_mins(1);
const TOPIC: &str = "kv-events";

/// A publisher that knows when it is listened to.
struct Engine {
    socket: XPubSocket,
    address: String,
}

impl Engine {
    async fn start() -> Self {
        Self::start_at("tcp://127.0.0.1:0").await
    }

    async fn start_at(address: &str) -> Self {
        let mut socket = XPubSocket::new();
        let bound = tokio::time::timeout(DEADLINE, async {
            loop {
                // The port of an earlier engine may still be closing.
                match socket.bind(address).await {
                    Ok(bound) => return bound,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        let address = bound.await.unwrap().to_string();
        Self { socket, address }
    }

    async fn subscribed(&mut self) {
        let request = tokio::time::timeout(DEADLINE, self.socket.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(request.get(0).unwrap()[0], 1, "a subscription");
    }

    async fn publish(&mut self, sequence: u64, batch: &Batch) {
        self.send(TOPIC, sequence, payload(batch)).await;
    }

    async fn send(&mut self, topic: &str, sequence: u64, payload: Bytes) {
        let mut message = ZmqMessage::from(topic);
        message.push_back(Bytes::copy_from_slice(&sequence.to_be_bytes()));
        message.push_back(payload);
        self.socket.send(message).await.unwrap();
    }
}

fn payload(batch: &Batch) -> Bytes {
    encode(batch, Layout::Maps).into()
}

/// Block number `at` of one long prompt.
fn block(at: u32) -> Batch {
    Batch {
        events: vec![KvEvent::Stored(Stored {
            hashes: vec![EngineHash::from(u64::from(at))],
            parent: at
                .checked_sub(1)
                .map(|before| EngineHash::from(u64::from(before))),
            tokens: vec![at; 4],
            block_size: 4,
            ..Stored::default()
        })],
        ..Batch::default()
    }
}

struct Following {
    index: Arc<CacheIndex>,
    heard: Arc<Heard>,
    task: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start(engine: &Engine, replay: Option<String>) -> Following {
    let index = Arc::new(CacheIndex::new(DEFAULT_BUDGET, 1));
    let heard = Arc::new(Heard::default());
    let source = Source {
        events: engine.address.clone(),
        topic: TOPIC.to_owned(),
        replay,
    };
    let owner = index.join(1).unwrap();
    let task = tokio::spawn(follow(source, owner, Arc::clone(&heard)));
    Following { index, heard, task }
}

/// An engine whose events somebody hears, who may ask `replay` for what was missed.
async fn followed(replay: Option<String>) -> (Engine, Following) {
    let mut engine = Engine::start().await;
    let following = start(&engine, replay);
    engine.subscribed().await;
    (engine, following)
}

impl Following {
    /// Leading blocks of the long prompt that the engine is credited with.
    fn held(&self) -> u32 {
        let tokens: Vec<u32> = (0..8).flat_map(|at| [at; 4]).collect();
        let asked = Asked {
            tokens: &tokens,
            adapter: None,
            max_blocks: 8,
        };
        let mut lengths = [0];
        self.index.lookup(&asked, &(1..=1), &mut lengths);
        lengths[0]
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        assert!(waited.is_ok(), "never: {what}; held {}", self.held());
    }
}

#[tokio::test]
async fn events_reach_the_index() {
    let (mut engine, following) = followed(None).await;
    for at in 0..3 {
        engine.publish(at.into(), &block(at)).await;
    }
    following.until("three blocks", |all| all.held() == 3).await;
    assert_eq!(following.heard.batches(), 3);
    assert_eq!(following.index.block_size(), Some(4));
}

#[tokio::test]
async fn other_topics_cost_nothing_and_a_broken_payload_what_was_known() {
    let (mut engine, following) = followed(None).await;
    engine.publish(0, &block(0)).await;
    // The subscription matches beginnings of topics; a topic must be equal.
    engine
        .send("kv-events-of-another", 7, payload(&block(5)))
        .await;
    engine.send(TOPIC, 1, Bytes::from_static(&[0xc1])).await;
    engine.publish(2, &block(0)).await;
    following
        .until("the block after it", |all| {
            all.held() == 1 && all.heard.batches() == 2
        })
        .await;
    assert_eq!(following.heard.faulty(), 1);
    assert_eq!(following.index.figures().resets, 1);
    assert_eq!(following.heard.gaps(), 0);
}

#[tokio::test]
async fn a_gap_makes_the_engine_unknown() {
    let (mut engine, following) = followed(None).await;
    engine.publish(0, &block(0)).await;
    following.until("a block", |all| all.held() == 1).await;
    engine.publish(2, &block(2)).await;
    following
        .until("a gap", |all| all.heard.gaps() == 1 && all.held() == 0)
        .await;
    engine.publish(3, &block(0)).await;
    following
        .until("a block again", |all| all.held() == 1)
        .await;
}

#[tokio::test]
async fn an_engine_that_counts_anew_is_unknown() {
    let (mut engine, following) = followed(None).await;
    for at in 0..3 {
        engine.publish(at.into(), &block(at)).await;
    }
    following.until("three blocks", |all| all.held() == 3).await;
    engine.publish(0, &block(0)).await;
    following.until("one block", |all| all.held() == 1).await;
    assert_eq!(following.index.figures().resets, 1);
}

#[tokio::test]
async fn a_restarted_engine_is_found_again() {
    let (mut engine, following) = followed(None).await;
    for at in 0..2 {
        engine.publish(at.into(), &block(at)).await;
    }
    following.until("two blocks", |all| all.held() == 2).await;
    let address = engine.address.clone();
    drop(engine);
    let mut engine = Engine::start_at(&address).await;
    engine.subscribed().await;
    engine.publish(0, &block(0)).await;
    following.until("one block", |all| all.held() == 1).await;
    assert_eq!(following.heard.connects(), 2);
}

#[tokio::test]
async fn a_subscription_that_ends_is_forgotten() {
    let (mut engine, following) = followed(None).await;
    engine.publish(0, &block(0)).await;
    following.until("a block", |all| all.held() == 1).await;
    following.task.abort();
    following
        .until("nothing", |all| all.index.figures().owners == 0)
        .await;
    assert_eq!(following.index.figures().blocks, 0);
}

/// Answers one request with what the engine has from the asked number on, up to number `last`.
async fn replayer(first: u64, last: u64) -> (String, JoinHandle<()>) {
    let mut socket = RouterSocket::new();
    let address = socket.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let task = tokio::spawn(async move {
        let request = socket.recv().await.unwrap().into_vec();
        let [peer, empty, from] = &request[..] else {
            panic!("{request:?} is no request");
        };
        assert!(empty.is_empty());
        let from = u64::from_be_bytes(from[..].try_into().unwrap());
        let answer = |number: u64, payload: Bytes| {
            let mut message = ZmqMessage::from(peer.clone());
            message.push_back(Bytes::new());
            message.push_back(Bytes::copy_from_slice(&number.to_be_bytes()));
            message.push_back(payload);
            message
        };
        for number in from.max(first)..=last {
            let block = block(u32::try_from(number).unwrap());
            socket.send(answer(number, payload(&block))).await.unwrap();
        }
        socket.send(answer(u64::MAX, Bytes::new())).await.unwrap();
        // The connection must outlive what was sent on it.
        std::future::pending::<()>().await;
    });
    (address, task)
}

#[tokio::test]
async fn a_latecomer_learns_what_was_published_before() {
    let (replay, answering) = replayer(0, 4).await;
    let (mut engine, following) = followed(Some(replay)).await;
    // The replay has this one too.
    engine.publish(3, &block(3)).await;
    following.until("four blocks", |all| all.held() == 4).await;
    engine.publish(4, &block(4)).await;
    following.until("five blocks", |all| all.held() == 5).await;
    assert_eq!(following.heard.batches(), 5);
    answering.abort();
}

#[tokio::test]
async fn a_gap_is_filled() {
    let (replay, answering) = replayer(0, 3).await;
    let (mut engine, following) = followed(Some(replay)).await;
    engine.publish(0, &block(0)).await;
    engine.publish(3, &block(3)).await;
    following.until("four blocks", |all| all.held() == 4).await;
    assert_eq!(following.index.figures().resets, 0);
    answering.abort();
}

#[tokio::test]
async fn a_gap_that_is_filled_in_part_makes_what_was_before_unknown() {
    let (replay, answering) = replayer(2, 3).await;
    let (mut engine, following) = followed(Some(replay)).await;
    engine.publish(0, &block(0)).await;
    engine.publish(3, &block(3)).await;
    following
        .until("a reset", |all| {
            all.index.figures().resets == 1 && all.heard.batches() == 3
        })
        .await;
    assert_eq!(following.held(), 0);
    answering.abort();
}
