//! Runs the rows and prints the table.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::load;
use crate::process::{Process, await_listener, free_port};
use crate::proxies::{ENGINES, Kind, Proxy, Stage, loopback};
use crate::scenario::{self, CONNECTIONS, Scenario};

/// Streams held open to see what one costs.
const IDLE_STREAMS: usize = 1000;

/// Streams held open to see whether that many can be.
const MANY_STREAMS: usize = 9000;

/// Endpoints of a large fleet.
const MANY_PODS: u32 = 1000;

/// Longest a peer may take to hold its idle streams open.
const PATIENCE: Duration = Duration::from_mins(1);

/// Requests a second, and how many, to see what waiting a proxy adds.
const RATE: u32 = 1000;
const RATED: u32 = 10_000;

struct Bench {
    engine_port: u16,
    _engine: Process,
    folder: TempDir,
    scale: f64,
    kinds: Vec<Kind>,
}

/// What one proxy did in a closed loop.
#[derive(Clone, Copy)]
struct Cost {
    /// CPU microseconds per request.
    micros: f64,
    /// Requests per second.
    rate: f64,
}

/// A line of the table: a figure for each proxy, ours first.
struct Row {
    name: &'static str,
    figures: Vec<f64>,
    bound: String,
}

/// Measures everything and prints it. `costs_only`: nothing but CPU time per request, ours and nginx's.
pub(crate) async fn run(scale: f64, costs_only: bool) -> anyhow::Result<()> {
    // The engines and the proxies inherit it.
    kthena_router_proxy::raise_descriptor_limit()?;
    let mut bench = Bench::start(scale)?;
    if costs_only {
        bench
            .kinds
            .retain(|kind| matches!(kind, Kind::Ours | Kind::Nginx));
    }
    bench.titles()?;
    let mut short = Vec::new();
    for scenario in [scenario::short(), scenario::long(), scenario::stream()] {
        let costs = bench.row(&scenario).await?;
        if short.is_empty() {
            short = costs;
        }
    }
    Bench::say(&Row {
        name: "short chat, req/s",
        figures: short.iter().map(|cost| cost.rate).collect(),
        bound: ">= 30000".to_owned(),
    })?;
    if costs_only {
        return Ok(());
    }
    bench.memory().await?;
    bench.latency().await?;
    bench.growth().await?;
    bench.many_streams().await
}

impl Bench {
    fn start(scale: f64) -> anyhow::Result<Self> {
        let engine_port = free_port()?;
        let engine = Process::own(&["engine", "--listen", &format!("0.0.0.0:{engine_port}")])?;
        await_listener(loopback(engine_port))?;
        let (kinds, missing): (Vec<_>, Vec<_>) =
            Kind::ALL.into_iter().partition(|kind| kind.is_installed());
        for kind in missing {
            say(&format!("{} is not installed and left out", kind.name()))?;
        }
        Ok(Self {
            engine_port,
            _engine: engine,
            folder: tempfile::tempdir()?,
            scale,
            kinds,
        })
    }

    fn stage(&self) -> Stage<'_> {
        Stage {
            engine_port: self.engine_port,
            folder: self.folder.path(),
        }
    }

    fn titles(&self) -> anyhow::Result<()> {
        say("CPU time of the proxy per request; the load and the engines run on the same cores")?;
        let mut names = String::new();
        for kind in &self.kinds {
            write!(names, "{:>12}", kind.name())?;
        }
        say(&format!("{:<32}{names}  ours must reach", ""))
    }

    fn say(row: &Row) -> anyhow::Result<()> {
        let mut figures = String::new();
        for figure in &row.figures {
            if figure.is_nan() {
                write!(figures, "{:>12}", "none")?;
            } else {
                write!(figures, "{figure:>12.1}")?;
            }
        }
        say(&format!("{:<32}{figures}  {}", row.name, row.bound))
    }

    async fn row(&self, scenario: &Scenario) -> anyhow::Result<Vec<Cost>> {
        let mut costs = Vec::new();
        for kind in &self.kinds {
            let proxy = kind.start(self.stage()).await?;
            let cost = self.cost(&proxy, scenario).await;
            costs.push(cost.with_context(|| format!("{}, {}", kind.name(), scenario.name))?);
        }
        let figures: Vec<f64> = costs.iter().map(|cost| cost.micros).collect();
        let ratio = match figures.as_slice() {
            [ours, nginx, ..] => ours / nginx,
            _ => 0.0,
        };
        Self::say(&Row {
            name: scenario.name,
            figures,
            bound: format!(
                "<= {} and <= {} x nginx: {ratio:.2}",
                scenario.bound, scenario.ratio
            ),
        })?;
        Ok(costs)
    }

    async fn cost(&self, proxy: &Proxy, scenario: &Scenario) -> anyhow::Result<Cost> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive count"
        )]
        let total = (f64::from(u32::try_from(scenario.total)?) * self.scale).max(100.0) as usize;
        load::closed(proxy.address, &scenario.request, CONNECTIONS, total / 10).await?;
        let before = proxy.process.cpu_micros();
        let elapsed = load::closed(proxy.address, &scenario.request, CONNECTIONS, total).await?;
        let count = f64::from(u32::try_from(total)?);
        Ok(Cost {
            micros: (proxy.process.cpu_micros() - before) / count,
            rate: count / elapsed.as_secs_f64(),
        })
    }

    async fn memory(&self) -> anyhow::Result<()> {
        let (mut rests, mut streams) = (Vec::new(), Vec::new());
        for kind in &self.kinds {
            let proxy = kind.start(self.stage()).await?;
            rests.push(proxy.process.resident() / f64::from(1 << 20));
            // What the first requests leave behind is no cost of a stream.
            load::closed(proxy.address, &scenario::short().request, CONNECTIONS, 2000).await?;
            let each = tokio::time::timeout(PATIENCE, idle_kilobytes(&proxy, IDLE_STREAMS)).await;
            // A peer that does not get that far has no figure; we must.
            streams.push(match each {
                Ok(each) => each.with_context(|| kind.name())?,
                Err(_) if *kind != Kind::Ours => f64::NAN,
                Err(_) => bail!("{IDLE_STREAMS} idle streams were not open after {PATIENCE:?}"),
            });
        }
        Self::say(&Row {
            name: "KB per idle open stream",
            figures: streams,
            bound: "<= 20".to_owned(),
        })?;
        Self::say(&Row {
            name: "MB resident at rest",
            figures: rests,
            bound: "<= 16".to_owned(),
        })
    }

    async fn latency(&self) -> anyhow::Result<()> {
        let request = scenario::short().request;
        let direct = load::open(loopback(self.engine_port), &request, RATE, RATED).await?;
        let direct = p99(&direct);
        let mut figures = Vec::new();
        for kind in &self.kinds {
            let proxy = kind.start(self.stage()).await?;
            load::closed(proxy.address, &request, CONNECTIONS, 2000).await?;
            let routed = load::open(proxy.address, &request, RATE, RATED).await?;
            figures.push(p99(&routed) - direct);
        }
        Self::say(&Row {
            name: "us added at p99, 1,000 req/s",
            figures,
            bound: format!("<= 1000 (direct: {direct:.0})"),
        })
    }

    async fn growth(&self) -> anyhow::Result<()> {
        let scenario = scenario::short();
        let stage = self.stage();
        let few = self.cost(&stage.router(ENGINES, 1)?, &scenario).await?;
        let many = self.cost(&stage.router(MANY_PODS, 1)?, &scenario).await?;
        // A proxy that knows nothing has as many connections, which are cold more often.
        let few_alike = self.cost(&stage.nginx(ENGINES).await?, &scenario).await?;
        let many_alike = self.cost(&stage.nginx(MANY_PODS).await?, &scenario).await?;
        Self::say(&Row {
            name: "1,000 endpoints",
            figures: vec![many.micros, many_alike.micros],
            bound: format!(
                "<= 1.5 x of 3 ({:.1}): {:.2}; nginx ({:.1}): {:.2}",
                few.micros,
                many.micros / few.micros,
                few_alike.micros,
                many_alike.micros / few_alike.micros
            ),
        })?;
        let routed = self
            .cost(&stage.router(ENGINES, 10_000)?, &scenario)
            .await?;
        Self::say(&Row {
            name: "10,000 routes",
            figures: vec![routed.micros],
            bound: format!(
                "<= 1.5 x of 1 ({:.1}): {:.2}",
                few.micros,
                routed.micros / few.micros
            ),
        })
    }

    async fn many_streams(&self) -> anyhow::Result<()> {
        let proxy = self.stage().router(3, 1)?;
        let each = idle_kilobytes(&proxy, MANY_STREAMS).await?;
        say(&format!(
            "{MANY_STREAMS} idle streams through one router: all open, {each:.1} KB each"
        ))
    }
}

/// What one of `count` idle streams costs.
async fn idle_kilobytes(proxy: &Proxy, count: usize) -> anyhow::Result<f64> {
    let before = proxy.process.resident();
    let streams = load::idle_streams(proxy.address, &scenario::idle(), count).await?;
    let each = (proxy.process.resident() - before) / f64::from(u32::try_from(streams.len())?);
    Ok(each / 1024.0)
}

/// In microseconds.
fn p99(times: &[Duration]) -> f64 {
    times[times.len() * 99 / 100].as_secs_f64() * 1e6
}

/// Prints a line.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
