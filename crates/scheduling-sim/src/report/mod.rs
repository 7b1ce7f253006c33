//! What the runs came to, for people and for programs.

mod plot;

use std::collections::BTreeMap;
use std::fmt::Write;

pub use plot::bars;

use crate::run::{Report, Row, UserWaits};

/// The rows as JSON.
pub fn json(rows: &[Row]) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(rows)
}

/// A figure over all seeds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The lowest.
    pub least: f64,
    /// The highest.
    pub most: f64,
}

/// A policy's figures under one workload, over all seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The policy's name.
    pub policy: String,
    /// Requests per second.
    pub throughput: Spread,
    /// Seconds to the first token.
    pub first_token: Spread,
    /// Seconds to the last token.
    pub latency: Spread,
    /// Share of prompt tokens from a cache.
    pub cached: Spread,
    /// Share of requests answered.
    pub answered: Spread,
}

/// Summaries by workload, each best first; workloads in the order they first appear.
pub fn summaries(rows: &[Row]) -> Vec<(String, Vec<Summary>)> {
    let mut workloads: Vec<String> = Vec::new();
    let mut grouped: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        if !workloads.contains(&row.workload) {
            workloads.push(row.workload.clone());
        }
        let key = (row.workload.as_str(), row.policy.as_str());
        grouped.entry(key).or_default().push(row);
    }
    let of = |workload: String| {
        let of_workload = grouped.iter().filter(|((name, _), _)| *name == workload);
        let mut all: Vec<Summary> = of_workload
            .map(|((_, policy), rows)| summary(policy, rows))
            .collect();
        all.sort_by(|a, b| b.throughput.mean.total_cmp(&a.throughput.mean));
        (workload, all)
    };
    workloads.into_iter().map(of).collect()
}

fn summary(policy: &str, rows: &[&Row]) -> Summary {
    let spread = |figure: fn(&Row) -> f64| {
        let values = rows.iter().map(|row| figure(row));
        Spread {
            mean: values.clone().sum::<f64>() / rows.len().max(1) as f64,
            least: values.clone().fold(f64::INFINITY, f64::min),
            most: values.fold(f64::NEG_INFINITY, f64::max),
        }
    };
    Summary {
        policy: policy.to_owned(),
        throughput: spread(|row| row.requests_per_second),
        first_token: spread(|row| row.ttft_seconds_mean),
        latency: spread(|row| row.latency_seconds_mean),
        cached: spread(|row| row.cache_hit_ratio),
        answered: spread(|row| row.success_rate),
    }
}

/// A page of tables. `about` says for each workload what it is, `setting` what the engines are.
pub fn markdown(rows: &[Row], about: &BTreeMap<String, String>, setting: &str) -> String {
    let mut out = String::from("# Scheduling policies compared\n\n");
    // Writing to memory cannot fail.
    let _ = writeln!(out, "{setting}\n");
    for (workload, summaries) in summaries(rows) {
        let _ = writeln!(out, "## {workload}\n");
        if let Some(about) = about.get(&workload) {
            let _ = writeln!(out, "{about}.\n");
        }
        let random = summaries.iter().find(|summary| summary.policy == "random");
        out.push_str(
            "| Policy | Requests/s | × random | TTFT, s | Latency, s | Cached | Answered |\n\
             |---|---:|---:|---:|---:|---:|---:|\n",
        );
        for summary in &summaries {
            let ratio = random.map_or_else(String::new, |random| {
                format!("{:.2}", summary.throughput.mean / random.throughput.mean)
            });
            let _ = writeln!(
                out,
                "| {} | {} | {ratio} | {} | {} | {:.1} % | {:.1} % |",
                summary.policy,
                told(summary.throughput),
                told(summary.first_token),
                told(summary.latency),
                summary.cached.mean * 100.0,
                summary.answered.mean * 100.0,
            );
        }
        let _ = writeln!(
            out,
            "\n![Requests per second]({workload}-throughput.svg) ![Time to first token]({workload}-ttft.svg)\n"
        );
    }
    out
}

/// The mean, and how far seeds are apart.
fn told(spread: Spread) -> String {
    let off = (spread.most - spread.least) / 2.0;
    format!("{:.2} ± {off:.2}", spread.mean)
}

/// A table of waits in the router's queue, by kind of user; empty if no run had one.
pub fn waits(reports: &[Report]) -> String {
    let mut out = String::new();
    for Report { row, waits } in reports.iter().filter(|report| !report.waits.is_empty()) {
        if out.is_empty() {
            out.push_str(
                "## Waits in the queue\n\n| Policy | Seed | Users | Requests | Mean wait, s | Longest, s |\n\
                 |---|---:|---|---:|---:|---:|\n",
            );
        }
        let (greedy, others): (Vec<&UserWaits>, Vec<&UserWaits>) =
            waits.iter().partition(|waits| waits.user == 0);
        for (who, users) in [("the greedy one", greedy), ("the others", others)] {
            let requests: u32 = users.iter().map(|user| user.requests).sum();
            let total = |user: &&UserWaits| user.mean * f64::from(user.requests);
            let mean = users.iter().map(total).sum::<f64>() / f64::from(requests.max(1));
            let longest = users.iter().map(|user| user.longest).fold(0.0, f64::max);
            // Writing to memory cannot fail.
            let _ = writeln!(
                out,
                "| {} | {} | {who} | {requests} | {mean:.2} | {longest:.2} |",
                row.policy, row.seed
            );
        }
    }
    out
}
