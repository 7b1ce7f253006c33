//! What it costs the router to ask many engines for their state each second.
//!
//! One process is all engines: it listens on one port of every loopback address and answers with a page of metrics that
//! a vLLM had.

use std::time::Duration;

use anyhow::ensure;

use crate::process::{Process, await_listener, free_port};
use crate::proxies::{Stage, loopback};
use crate::report::say;
use crate::soak::metric;
use crate::table::{Bound, Figure};

/// Until the first round is over and connections are open.
const SETTLE: Duration = Duration::from_secs(10);

/// Measures for so many seconds.
pub(crate) async fn run(pods: u32, seconds: u64) -> anyhow::Result<()> {
    kthena_router_proxy::raise_descriptor_limit()?;
    let folder = tempfile::tempdir()?;
    let engine_port = free_port()?;
    let engine = Process::own(&["engine", "--listen", &format!("0.0.0.0:{engine_port}")])?;
    await_listener(loopback(engine_port))?;
    let stage = Stage {
        engine_port,
        folder: folder.path(),
    };
    let router = stage.scraping_router(pods)?;
    tokio::time::sleep(SETTLE).await;

    let visits = async || metric(router.address, "kthena_router_engine_scrapes_total").await;
    let (cpu, before) = (router.process.cpu_micros(), visits().await?);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (cpu, made) = (router.process.cpu_micros() - cpu, visits().await? - before);
    let failed = metric(router.address, "kthena_router_engine_scrape_failures_total").await?;
    ensure!(made > 0.0, "no engine was asked");
    let seconds = f64::from(u32::try_from(seconds)?);
    say(&Figure::titles())?;
    say(&Figure {
        name: "CPU of 1,000 visits of engines",
        measured: cpu / made / 10.0,
        unit: "% of a core",
        bound: Bound::Below(10.0),
        note: format!(
            "{:.1} µs each; {pods} pods, {:.0} visits a second, {failed} failed; {:.1} MB resident, the engines' process used {:.0} s",
            cpu / made,
            made / seconds,
            router.process.resident() / f64::from(1 << 20),
            engine.cpu_micros() / 1e6,
        ),
    }
    .to_string())
}
