//! What the runs came to, as files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kthena_scheduling_sim::report;
use kthena_scheduling_sim::run::{Report, Row};
use kthena_scheduling_sim::setting::Knowledge;

use super::scheduling::{Plan, Scheduling};

pub(super) fn write(args: &Scheduling, plan: &Plan, reports: &[Report]) -> Result<()> {
    let out = &args.out;
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let mut about = BTreeMap::new();
    for task in &plan.tasks {
        let workload = &plan.workloads[task.workload];
        let knowledge = match task.fleet.knowledge {
            Knowledge::Today => "",
            Knowledge::Published => {
                ". The six configurations know what the published router knew: counts of the last scrape, and prefixes \
                 of answers that were complete"
            }
        };
        about
            .entry(workload.name.clone())
            .or_insert_with(|| format!("{}{knowledge}", workload.about));
    }
    let rows: Vec<Row> = reports.iter().map(|report| report.row.clone()).collect();
    save(out, "report.json", &report::json(&rows)?)?;
    let mut page = report::markdown(&rows, &about, &setting(args, plan));
    page.push_str(&report::waits(reports));
    save(out, "report.md", &page)?;
    for (workload, summaries) in report::summaries(&rows) {
        let throughput: Vec<_> = summaries
            .iter()
            .map(|summary| (summary.policy.as_str(), summary.throughput))
            .collect();
        let title = format!("{workload}: requests per second");
        let plot = report::bars(&title, "req/s", &throughput);
        save(out, &format!("{workload}-throughput.svg"), &plot)?;
        let first: Vec<_> = summaries
            .iter()
            .map(|summary| (summary.policy.as_str(), summary.first_token))
            .collect();
        let title = format!("{workload}: seconds to the first token");
        let plot = report::bars(&title, "s", &first);
        save(out, &format!("{workload}-ttft.svg"), &plot)?;
    }
    Ok(())
}

fn setting(args: &Scheduling, plan: &Plan) -> String {
    let fleet = &plan.fleet;
    let (how, routers) = if args.virtual_time {
        ("in virtual time", format!("{} router(s)", fleet.routers))
    } else {
        ("by the wall clock", "the real router".to_owned())
    };
    format!(
        "{} simulated engines {how} behind {routers}, each {} on one {}, cache blocks of {} tokens, steps of up to {} \
         tokens; {} seeds, ± is half the distance between the lowest and the highest.",
        fleet.engines,
        fleet.model.name,
        fleet.gpu.name,
        fleet.block_size,
        fleet.max_batched_tokens,
        plan.seeds
    )
}

fn save(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())
}
