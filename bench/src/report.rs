//! Runs the rows and prints the table.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, await_listener, free_port};
use crate::scenario::{self, CONNECTIONS, Scenario};
use crate::{load, nginx};

/// Streams held open to see what one costs.
const IDLE_STREAMS: usize = 1000;

/// A proxy under test.
struct Proxy {
    address: SocketAddr,
    process: Process,
}

struct Bench {
    engine_port: u16,
    _engine: Process,
    folder: TempDir,
    scale: f64,
}

/// Measures everything and prints it.
pub(crate) async fn run(scale: f64) -> anyhow::Result<()> {
    let bench = Bench::start(scale)?;
    say("CPU microseconds per request; throughput with the load on the same cores")?;
    say(&format!(
        "{:<22} {:>9} {:>9} {:>7}   {:<22} {:>10} {:>10}",
        "work", "ours", "nginx", "ratio", "must reach", "ours req/s", "nginx"
    ))?;
    for scenario in [scenario::short(), scenario::long(), scenario::stream()] {
        bench.row(&scenario).await?;
    }
    bench.growth().await?;
    bench.memory().await?;
    bench.latency().await
}

impl Bench {
    fn start(scale: f64) -> anyhow::Result<Self> {
        let engine_port = free_port()?;
        let engine = Process::own(&["engine", "--listen", &format!("0.0.0.0:{engine_port}")])?;
        await_listener(loopback(engine_port))?;
        Ok(Self {
            engine_port,
            _engine: engine,
            folder: tempfile::tempdir()?,
            scale,
        })
    }

    fn router(&self, pods: u32, routes: u32) -> anyhow::Result<Proxy> {
        let address = loopback(free_port()?);
        let log = self.folder.path().join("access.log");
        let process = Process::own(&[
            "proxy",
            "--listen",
            &address.to_string(),
            "--engine-port",
            &self.engine_port.to_string(),
            "--pods",
            &pods.to_string(),
            "--routes",
            &routes.to_string(),
            "--log",
            path(&log),
        ])?;
        await_listener(address)?;
        Ok(Proxy { address, process })
    }

    fn nginx(&self) -> anyhow::Result<Proxy> {
        let address = loopback(free_port()?);
        let process = nginx::start(address, self.engine_port, 3, self.folder.path())?;
        await_listener(address)?;
        Ok(Proxy { address, process })
    }

    async fn row(&self, scenario: &Scenario) -> anyhow::Result<()> {
        let (ours, our_rate) = self.cost(&self.router(3, 1)?, scenario).await?;
        let (theirs, their_rate) = self.cost(&self.nginx()?, scenario).await?;
        let bound = format!("<= {} and <= {} x", scenario.bound, scenario.ratio);
        say(&format!(
            "{:<22} {ours:>9.1} {theirs:>9.1} {:>7.2}   {bound:<22} {our_rate:>10.0} {their_rate:>10.0}",
            scenario.name,
            ours / theirs,
        ))
    }

    /// CPU microseconds per request, and requests per second.
    async fn cost(&self, proxy: &Proxy, scenario: &Scenario) -> anyhow::Result<(f64, f64)> {
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
        Ok((
            (proxy.process.cpu_micros() - before) / count,
            count / elapsed.as_secs_f64(),
        ))
    }

    async fn growth(&self) -> anyhow::Result<()> {
        let scenario = scenario::short();
        let (small, _) = self.cost(&self.router(3, 1)?, &scenario).await?;
        for (name, pods, routes) in [("1,000 endpoints", 1000, 1), ("10,000 routes", 3, 10_000)] {
            let (large, _) = self.cost(&self.router(pods, routes)?, &scenario).await?;
            say(&format!(
                "{name:<22} {large:>9.1} {small:>9.1} {:>7.2}   <= 1.5 x (3 endpoints, 1 route)",
                large / small
            ))?;
        }
        Ok(())
    }

    async fn memory(&self) -> anyhow::Result<()> {
        for (name, proxy) in [("ours", self.router(3, 1)?), ("nginx", self.nginx()?)] {
            let rest = proxy.process.resident();
            // What the first requests leave behind is no cost of a stream.
            load::closed(proxy.address, &scenario::short().request, CONNECTIONS, 2000).await?;
            let before = proxy.process.resident();
            let streams =
                load::idle_streams(proxy.address, &scenario::idle(), IDLE_STREAMS).await?;
            let after = proxy.process.resident();
            let each = (after - before) / f64::from(u32::try_from(streams.len())?) / 1024.0;
            say(&format!(
                "{name:<6} at rest {:.1} MB (<= 16), per idle stream {each:.1} KB (<= 20)",
                rest / f64::from(1 << 20)
            ))?;
        }
        Ok(())
    }

    async fn latency(&self) -> anyhow::Result<()> {
        let request = scenario::short().request;
        let proxy = self.router(3, 1)?;
        load::closed(proxy.address, &request, CONNECTIONS, 2000).await?;
        let direct = load::open(loopback(self.engine_port), &request, 1000, 10_000).await?;
        let routed = load::open(proxy.address, &request, 1000, 10_000).await?;
        let p99 = |times: &[Duration]| times[times.len() * 99 / 100].as_secs_f64() * 1000.0;
        let (direct, routed) = (p99(&direct), p99(&routed));
        say(&format!(
            "p99 at 1,000 req/s: {direct:.2} ms direct, {routed:.2} ms routed, {:.2} ms added (<= 1)",
            routed - direct
        ))
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Prints a line.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
