//! The copy in Redis: what is written, what is read at the start.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo,
};

use super::ledger::{Change, Ledger};
use super::{Keys, LIFETIME};
use crate::events::EngineHash;

/// For connecting, and for each answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Changes in one pipeline.
const CHUNK: usize = 512;
/// Keys looked at in one step of a search.
const SCAN_COUNT: usize = 500;

/// Where Redis is.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Number of the database. Routers read 0.
    pub database: i64,
    /// Password, if one is needed.
    pub password: Option<String>,
}

/// Without the password.
impl std::fmt::Debug for RedisAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}/{}", self.host, self.port, self.database)
    }
}

/// Why the copy is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address makes no sense.
    #[error("the address of Redis is faulty")]
    Address(#[source] redis::RedisError),
    /// It does not answer, or with an error.
    #[error("Redis failed")]
    Failed(#[from] redis::RedisError),
    /// It does not answer in time.
    #[error("Redis does not answer in time")]
    Timeout,
}

/// A connection that is made when it is needed.
pub struct Store {
    client: Client,
    keys: Keys,
    connection: Option<MultiplexedConnection>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connected = self.connection.is_some();
        let mut out = out.debug_struct("Store");
        out.field("keys", &self.keys)
            .field("connected", &connected)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Connects to nothing yet.
    pub fn new(address: &RedisAddress, keys: Keys) -> Result<Self, StoreError> {
        let mut settings = RedisConnectionInfo::default().set_db(address.database);
        if let Some(password) = &address.password {
            settings = settings.set_password(password);
        }
        let info = ConnectionAddr::Tcp(address.host.clone(), address.port)
            .into_connection_info()
            .map_err(StoreError::Address)?
            .set_redis_settings(settings);
        Ok(Self {
            client: Client::open(info).map_err(StoreError::Address)?,
            keys,
            connection: None,
        })
    }

    /// Reads what earlier sidecars of this owner wrote into an empty ledger.
    pub async fn load(&mut self, ledger: &mut Ledger) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let known = self.known(&mut connection).await?;
        for (hash, value) in &known {
            let mut words = value.split(' ');
            let standard = words.next().and_then(|word| word.parse().ok());
            if let (Ok(hash), Some(standard)) = (hash.parse(), standard) {
                let ranks: Vec<u32> = words.filter_map(|rank| rank.parse().ok()).collect();
                ledger.restore(hash, standard, &ranks);
            }
        }
        if known.is_empty() {
            self.load_mappings(ledger, &mut connection).await?;
        }
        let seen: Vec<(u32, u64)> = self
            .ask(redis::cmd("HGETALL").arg(self.keys.seen()), &mut connection)
            .await?;
        for (rank, next) in seen {
            ledger.resume(rank, next);
        }
        Ok(())
    }

    /// Sidecars of an earlier make wrote no list, so their keys have to be searched for.
    async fn load_mappings(
        &mut self,
        ledger: &mut Ledger,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), StoreError> {
        let pattern = self.keys.mapping_pattern();
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern);
            scan.arg("COUNT").arg(SCAN_COUNT);
            let (next, found): (u64, Vec<String>) = self.ask(&scan, connection).await?;
            if !found.is_empty() {
                let mut get = redis::cmd("MGET");
                get.arg(&found);
                let values: Vec<Option<u64>> = self.ask(&get, connection).await?;
                for (key, standard) in found.iter().zip(values) {
                    if let (Some(hash), Some(standard)) = (self.keys.hash_in_mapping(key), standard)
                    {
                        ledger.restore(hash, standard, &[]);
                    }
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// Writes changes; `ledger` is as it is after them, `now` in Unix seconds.
    pub async fn write(
        &mut self,
        changes: &[Change],
        ledger: &Ledger,
        now: u64,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        for chunk in changes.chunks(CHUNK) {
            let mut pipeline = redis::pipe();
            for change in chunk {
                self.put(change, ledger, now, &mut pipeline);
            }
            self.send(&pipeline, &mut connection).await?;
        }
        let mut pipeline = redis::pipe();
        let seen = self.keys.seen();
        for (rank, next) in ledger.expected() {
            pipeline.hset(&seen, rank, next).ignore();
        }
        for key in [&seen, &self.keys.blocks_of_owner()] {
            pipeline.expire(key, lifetime()).ignore();
        }
        self.send(&pipeline, &mut connection).await
    }

    /// The engine's hashes that the copy holds, each with what is kept of it.
    async fn known(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.ask(
            redis::cmd("HGETALL").arg(self.keys.blocks_of_owner()),
            connection,
        )
        .await
    }

    /// Makes the copy equal to the ledger, whatever it was.
    pub async fn rewrite(&mut self, ledger: &Ledger, now: u64) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let known = self.known(&mut connection).await?;
        let held: HashSet<String> = ledger.blocks().map(|(hash, ..)| hash.to_string()).collect();
        let mut changes = Vec::new();
        for (hash, value) in &known {
            let standard: Option<u64> = value.split(' ').next().and_then(|word| word.parse().ok());
            if let (false, Ok(hash)) = (held.contains(hash), hash.parse()) {
                changes.push(Change::Unmap { hash });
            }
            if let Some(standard) = standard.filter(|standard| !ledger.owns(*standard)) {
                changes.push(Change::Disown { standard });
            }
        }
        for (hash, standard, _) in ledger.blocks() {
            changes.push(Change::Map {
                hash: hash.clone(),
                standard,
            });
            changes.push(Change::Own { standard });
        }
        self.write(&changes, ledger, now).await
    }

    fn put(&self, change: &Change, ledger: &Ledger, now: u64, pipeline: &mut Pipeline) {
        match change {
            Change::Map { hash, standard } => {
                let mapping = self.keys.mapping(hash);
                pipeline
                    .set_ex(mapping, standard, lifetime().unsigned_abs())
                    .ignore();
                let value = value(*standard, ledger.ranks(hash));
                let list = self.keys.blocks_of_owner();
                pipeline.hset(list, hash.to_string(), value).ignore();
            }
            Change::Unmap { hash } => {
                pipeline.del(self.keys.mapping(hash)).ignore();
                let list = self.keys.blocks_of_owner();
                pipeline.hdel(list, hash.to_string()).ignore();
            }
            Change::Own { standard } => {
                let key = self.keys.block(*standard);
                pipeline
                    .hset(&key, self.keys.owner(), now.to_string())
                    .ignore();
                pipeline.expire(key, lifetime()).ignore();
            }
            Change::Disown { standard } => {
                let key = self.keys.block(*standard);
                pipeline.hdel(key, self.keys.owner()).ignore();
            }
        }
    }

    async fn connection(&mut self) -> Result<MultiplexedConnection, StoreError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connection = connecting.await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    async fn ask<T: redis::FromRedisValue>(
        &mut self,
        command: &redis::Cmd,
        connection: &mut MultiplexedConnection,
    ) -> Result<T, StoreError> {
        let answer = tokio::time::timeout(TIMEOUT, command.query_async(connection)).await;
        self.checked(answer)
    }

    async fn send(
        &mut self,
        pipeline: &Pipeline,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), StoreError> {
        let answer = tokio::time::timeout(TIMEOUT, pipeline.query_async(connection)).await;
        self.checked(answer)
    }

    /// A connection that failed once is not used again.
    fn checked<T>(
        &mut self,
        answer: Result<redis::RedisResult<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, StoreError> {
        let answer = match answer {
            Ok(answer) => answer.map_err(StoreError::Failed),
            Err(_) => Err(StoreError::Timeout),
        };
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }
}

fn lifetime() -> i64 {
    LIFETIME.as_secs().cast_signed()
}

/// The standard hash and, behind it, the ranks that hold the block.
fn value(standard: u64, ranks: &[u32]) -> String {
    let mut value = standard.to_string();
    for rank in ranks {
        // Writing to memory cannot fail.
        let _ = write!(value, " {rank}");
    }
    value
}

/// What a key of Redis says about a block's name.
impl std::str::FromStr for EngineHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        if let Ok(hash) = text.parse::<u64>() {
            return Ok(hash.into());
        }
        if let Ok(hash) = text.parse::<i64>() {
            return Ok(hash.into());
        }
        let digits = text.as_bytes();
        let byte = |pair: &[u8]| {
            let high = char::from(*pair.first()?).to_digit(16)?;
            let low = char::from(*pair.get(1)?).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        match bytes {
            Some(bytes) if !bytes.is_empty() => Ok(Self::Bytes(bytes.into())),
            _ => Err(ParseHashError),
        }
    }
}

/// It is neither a number of 64 bits nor hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an engine's name for a block")]
pub struct ParseHashError;
