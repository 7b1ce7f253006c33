//! Prints the table of one workload. Settings are `NAME=VALUE`:
//! `cargo run --release -p kthena-scheduling-sim --example compare -- long seed=1 gpu=l20 batch=2048 router=published`.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use kthena_scheduling_sim::run::run;
use kthena_scheduling_sim::setting::{EventsAt, FleetConfig, Knowledge};
use kthena_scheduling_sim::workload::Workload;
use kthena_scheduling_sim::{policy, report, workload};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("long", String::as_str);
    let value = |key: &str| {
        args.iter()
            .find_map(|arg| arg.strip_prefix(key)?.strip_prefix('='))
    };
    let seed = value("seed").map_or(Ok(1), str::parse)?;
    let mut fleet = FleetConfig::published(value("gpu").unwrap_or("a6000"), "qwen2.5-7b")
        .ok_or("unknown GPU")?;
    if let Some(batch) = value("batch") {
        fleet.max_batched_tokens = batch.parse()?;
    }
    if let Some(utilization) = value("memory") {
        fleet.memory_utilization = utilization.parse()?;
    }
    if let Some(routers) = value("routers") {
        fleet.routers = routers.parse()?;
    }
    if value("router") == Some("published") {
        fleet.knowledge = Knowledge::Published;
    }
    if value("events") == Some("end") {
        fleet.events_at = EventsAt::StepEnds;
    }
    let mut load = workload::by_name(name, seed, workload::Scale::PUBLISHED, Instant::now())
        .ok_or("unknown workload")?;
    if let Some(output) = value("output") {
        set_output(&mut load, output.parse()?);
    }
    let policies = policy::all(fleet.block_size);
    let chosen = policies.iter().filter(|policy| {
        let wanted = |names: &str| names.split(',').any(|name| name == policy.name);
        value("policy").is_none_or(wanted)
    });
    let rows: Vec<_> = chosen
        .map(|policy| run(&fleet, policy, &load, seed, &mut |_| {}).row)
        .collect();
    let about = BTreeMap::from([(load.name.clone(), load.about.clone())]);
    let page = report::markdown(&rows, &about, fleet.gpu.name);
    std::io::stdout().write_all(page.as_bytes())?;
    Ok(())
}

fn set_output(load: &mut Workload, output: u32) {
    for session in &mut load.sessions {
        for turn in &mut session.turns {
            turn.output = output;
        }
    }
}
