//! A Redis, a writer that is fed by hand, and a look at what it wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use kthena_kv_events::block_hash::lone_hash;
use kthena_kv_events::events::{Batch, KvEvent, Removed, Stored};
use kthena_kv_events::redis::{Heard, Keys, RedisAddress, Store, Writer, WriterConfig};
use kthena_testkit::{RedisServer, eventually};
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
/// What the writer takes the time for, Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn keys() -> Keys {
    Keys::new("vllm", "tiny", "pod-0.default")
}

pub(crate) fn address(server: &RedisServer) -> RedisAddress {
    RedisAddress {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        database: 0,
        password: None,
    }
}

pub(crate) struct Fed {
    pub(crate) heard: mpsc::Sender<Heard>,
    _stop: DropGuard,
    next: u64,
}

/// A writer that starts now; it ends when this is dropped.
pub(crate) fn feed(server: &RedisServer, first: u64) -> Fed {
    let config = WriterConfig {
        retry: Duration::from_millis(50),
        ..WriterConfig::default()
    };
    let store = Store::new(&address(server), keys()).unwrap();
    let (heard, messages) = mpsc::channel(16);
    let stop = CancellationToken::new();
    tokio::spawn(Writer::new(config, store).run(messages, || NOW, stop.clone()));
    Fed {
        heard,
        _stop: stop.drop_guard(),
        next: first,
    }
}

impl Fed {
    pub(crate) async fn say(&mut self, event: KvEvent) {
        let batch = Batch {
            events: vec![event],
            ..Batch::default()
        };
        let heard = Heard {
            rank: 0,
            sequence: Some(self.next),
            batch,
        };
        self.next += 1;
        self.heard.send(heard).await.unwrap();
    }

    pub(crate) fn skip_to(&mut self, next: u64) {
        self.next = next;
    }
}

pub(crate) fn stored(hash: u64, tokens: &[u32]) -> KvEvent {
    KvEvent::Stored(Stored {
        hashes: vec![hash.into()],
        tokens: tokens.to_vec(),
        ..Stored::default()
    })
}

pub(crate) fn removed(hash: u64) -> KvEvent {
    KvEvent::Removed(Removed {
        hashes: vec![hash.into()],
        ..Removed::default()
    })
}

pub(crate) async fn client(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", server.port())).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Owners of a block with the seconds they were heard, as a router reads them.
pub(crate) async fn owners(
    client: &mut MultiplexedConnection,
    tokens: &[u32],
) -> BTreeMap<String, String> {
    let key = format!("matrix:kv:block:tiny@{}", lone_hash(tokens));
    let command = redis::cmd("HGETALL").arg(key).to_owned();
    command.query_async(client).await.unwrap()
}

/// Waits until a block has this many owners.
pub(crate) async fn until_owners(client: &MultiplexedConnection, tokens: &[u32], count: usize) {
    let seen = eventually("the owners", DEADLINE, || {
        let mut client = client.clone();
        async move { (owners(&mut client, tokens).await.len() == count).then_some(()) }
    });
    seen.await.unwrap();
}

/// All keys, sorted.
pub(crate) async fn all_keys(client: &mut MultiplexedConnection) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(client)
        .await
        .unwrap();
    keys.sort();
    keys
}
