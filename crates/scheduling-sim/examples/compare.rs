//! Prints the table of one workload: `cargo run --release -p kthena-scheduling-sim --example compare -- long 1 l20`.

use std::collections::BTreeMap;
use std::io::Write;

use kthena_scheduling_sim::run::{FleetConfig, run};
use kthena_scheduling_sim::{policy, report, workload};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("long", String::as_str);
    let seed = args.get(1).map_or(Ok(1), |seed| seed.parse())?;
    let gpu = args.get(2).map_or("a6000", String::as_str);
    let fleet = FleetConfig::published(gpu, "qwen2.5-7b").ok_or("unknown GPU")?;
    let workload = workload::by_name(name, seed).ok_or("unknown workload")?;
    let policies = policy::all(fleet.block_size);
    let rows: Vec<_> = policies
        .iter()
        .map(|policy| run(&fleet, policy, &workload, seed, &mut |_| {}))
        .collect();
    let about = BTreeMap::from([(workload.name.clone(), workload.about.clone())]);
    let page = report::markdown(&rows, &about, gpu);
    std::io::stdout().write_all(page.as_bytes())?;
    Ok(())
}
