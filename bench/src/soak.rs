//! Prompts that never repeat, for as long as somebody likes: what remembers prompts must stay inside its budget.
//!
//! A router of its own process is sent unique chats while its memory and its metrics are watched; beside it an index
//! of cache events is told of unique blocks by engines that evict nothing. The run fails if a budget was exceeded, if
//! nothing was evicted, or if memory still grew in its second half.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use fastrand::Rng;
use kthena_kv_events::index::{CacheIndex, Figures, Owner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::index::{SIZE, stored};
use crate::load::{self, Client};
use crate::process::{Process, await_listener, free_port};
use crate::proxies::{Proxy, Stage, loopback};
use crate::report::say;

/// Clients, each of which sends its next prompt when it was answered.
const CLIENTS: u64 = 4;
/// Bytes of a prompt.
const PROMPT: usize = 16 << 10;
/// Whatever remembers prompts takes part.
const CONFIGURATION: &str = "scheduler: {plugins: {Score: {enabled: \
    [{name: least-request, weight: 1}, {name: prefix-cache, weight: 1}, {name: adaptive, weight: 1}]}}}";
/// Bytes the prefix indexes of the router may use: the default of each of the two.
const PREFIX_BUDGET: f64 = 2.0 * 256.0 * MIB;
/// Bytes the index of cache events may use here.
const EVENTS_BUDGET: usize = 32 << 20;
/// Engines that tell it of blocks, and blocks of an event.
const ENGINES: u64 = 8;
const BLOCKS: u32 = 64;
/// Lines that are printed on the way.
const LINES: u32 = 20;
/// Most that memory may grow in the second half, beside 8 MiB.
const GROWTH: f64 = 1.05;
const MIB: f64 = 1_048_576.0;

/// What is seen of the router now and then.
#[derive(Debug, Clone, Copy)]
struct Look {
    resident: f64,
    entries: f64,
    bytes: f64,
    evictions: f64,
    requests: f64,
}

/// Runs for so many seconds.
pub(crate) async fn run(seconds: u64) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let engine_port = free_port()?;
    let _engine = Process::own(&["engine", "--listen", &format!("0.0.0.0:{engine_port}")])?;
    await_listener(loopback(engine_port))?;
    let stage = Stage {
        engine_port,
        folder: folder.path(),
    };
    let router = stage.configured_router(3, CONFIGURATION)?;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(ask(router.address, client));
    }
    let mut engines = Engines::new();
    let (mut looks, mut held) = (Vec::new(), Figures::default());
    let begun = Instant::now();
    for line in 1..=LINES {
        let until = begun + Duration::from_secs(seconds) * line / LINES;
        while Instant::now() < until {
            held = engines.tell()?;
            if let Some(ended) = clients.try_join_next() {
                ended??;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let look = Look::at(&router).await?;
        say(&look.line(begun.elapsed(), held))?;
        looks.push(look);
    }
    judge(&looks, held)
}

fn judge(looks: &[Look], held: Figures) -> anyhow::Result<()> {
    let (Some(half), Some(last)) = (looks.get(looks.len() / 2), looks.last()) else {
        return Ok(());
    };
    ensure!(
        last.evictions > 0.0,
        "nothing was evicted; let it run longer"
    );
    ensure!(
        held.refused > 0,
        "the index of events was never full; let it run longer"
    );
    let most = half.resident * GROWTH + 8.0 * MIB;
    ensure!(
        last.resident <= most,
        "memory grew from {:.1} to {:.1} MB in the second half",
        half.resident / MIB,
        last.resident / MIB
    );
    say("budgets kept, evictions counted, no growth")
}

impl Look {
    async fn at(router: &Proxy) -> anyhow::Result<Self> {
        let of = async |name| metric(router.address, name).await;
        let look = Self {
            resident: router.process.resident(),
            entries: of("kthena_router_prefix_cache_entries").await?,
            bytes: of("kthena_router_prefix_cache_bytes").await?,
            evictions: of("kthena_router_prefix_cache_evictions_total").await?,
            requests: of("kthena_router_requests_total").await?,
        };
        ensure!(
            look.bytes <= PREFIX_BUDGET,
            "the prefix index exceeds its budget: {look:?}"
        );
        Ok(look)
    }

    fn line(&self, after: Duration, held: Figures) -> String {
        format!(
            "{:>5.0} s  {:>9.0} requests  {:>6.1} MB resident  prefixes: {:>7.0} entries {:>5.1} MB {:>9.0} evicted  \
             events: {:>7} blocks {:>5.1} MB {:>9} refused",
            after.as_secs_f64(),
            self.requests,
            self.resident / MIB,
            self.entries,
            self.bytes / MIB,
            self.evictions,
            held.blocks,
            as_mib(held.bytes),
            held.refused,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn as_mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// Sends prompts that no other client sends, for ever.
async fn ask(router: SocketAddr, client: u64) -> anyhow::Result<()> {
    let mut rng = Rng::with_seed(client);
    let mut connection = Client::connect(router).await?;
    loop {
        let text: String = std::iter::repeat_with(|| rng.alphanumeric())
            .take(PROMPT)
            .collect();
        let body = serde_json::json!({
            "model": "m",
            "messages": [{"role": "user", "content": text}],
        });
        let request = load::request("/v1/chat/completions", &body.to_string());
        connection.ask(&request).await?;
    }
}

/// Engines that store and never evict.
struct Engines {
    index: Arc<CacheIndex>,
    owners: Vec<Owner>,
    next: u64,
}

impl Engines {
    fn new() -> Self {
        let index = Arc::new(CacheIndex::new(EVENTS_BUDGET, 7));
        let owners = (0..ENGINES).filter_map(|pod| index.join(pod)).collect();
        Self {
            index,
            owners,
            next: 0,
        }
    }

    /// Each engine stores blocks that nobody has.
    fn tell(&mut self) -> anyhow::Result<Figures> {
        for owner in &mut self.owners {
            let mut rng = Rng::with_seed(self.next);
            let tokens = std::iter::repeat_with(|| rng.u32(..))
                .take((BLOCKS * SIZE) as usize)
                .collect();
            owner.apply(&stored(self.next, None, tokens));
            self.next += u64::from(BLOCKS);
        }
        let held = self.index.figures();
        ensure!(
            held.bytes <= EVENTS_BUDGET as u64,
            "the index of events exceeds its budget: {held:?}"
        );
        Ok(held)
    }
}

/// The sum of a family's series, as the router at `address` tells it; 0 = it has none yet.
pub(crate) async fn metric(address: SocketAddr, name: &str) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        .await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    ensure!(page.starts_with("HTTP/1.1 200"), "no metrics");
    let values = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let own = series == name || series.strip_prefix(name)?.starts_with('{');
        own.then_some(value)
    });
    let mut sum = 0.0;
    for value in values {
        sum += value.parse::<f64>().with_context(|| name.to_owned())?;
    }
    Ok(sum)
}
