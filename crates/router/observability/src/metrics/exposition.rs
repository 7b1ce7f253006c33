//! Folds the cells into families of the Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{BOUNDS, Cell, CellKey, End, Histogram, Metrics, Phase, TokenLimit, read};
use crate::labels::Destination;
use crate::process_stats;
use crate::text::{escaped, head, histogram as write_histogram, sample};

type Cells = BTreeMap<CellKey, Arc<Cell>>;

pub(super) fn render(metrics: &Metrics) -> String {
    let cells: Cells = read(&metrics.cells)
        .iter()
        .map(|(key, cell)| (key.clone(), Arc::clone(cell)))
        .collect();
    let mut out = String::with_capacity(4096);
    head(
        &mut out,
        "active_requests",
        "gauge",
        "Requests inside the router.",
    );
    let _ = writeln!(out, "kthena_router_active_requests {}", metrics.active());
    downstream(&mut out, metrics);
    upstream(&mut out, &cells);
    requests(&mut out, &cells);
    durations(&mut out, &cells);
    for phase in [Phase::Prefill, Phase::Decode] {
        phases(&mut out, &cells, phase);
    }
    tokens(&mut out, &cells);
    limited(&mut out, &cells);
    head(
        &mut out,
        "access_log_dropped_total",
        "counter",
        "Access-log lines that were not written.",
    );
    let dropped = metrics.log_dropped.load(Ordering::Relaxed);
    let _ = writeln!(out, "kthena_router_access_log_dropped_total {dropped}");
    head(
        &mut out,
        "endpoint_ejections_total",
        "counter",
        "Endpoints that were taken out of service for failing.",
    );
    let ejections = metrics.ejections.load(Ordering::Relaxed);
    let _ = writeln!(out, "kthena_router_endpoint_ejections_total {ejections}");
    head(
        &mut out,
        "engine_silences_total",
        "counter",
        "Engines that said nothing for too long while a request waited for them.",
    );
    let silences = metrics.silences.load(Ordering::Relaxed);
    let _ = writeln!(out, "kthena_router_engine_silences_total {silences}");
    if let Some(gauge) = metrics.webhook.get() {
        head(
            &mut out,
            "webhook_up",
            "gauge",
            "Whether the admission webhook answers.",
        );
        let is_up = u8::from(gauge.load(Ordering::Relaxed));
        let _ = writeln!(out, "kthena_router_webhook_up {is_up}");
    }
    process_stats::write(&mut out);
    out
}

fn downstream(out: &mut String, metrics: &Metrics) {
    let models: BTreeMap<Arc<str>, i64> = read(&metrics.models)
        .iter()
        .map(|(model, gauge)| (Arc::clone(model), gauge.load(Ordering::Relaxed)))
        .collect();
    if models.is_empty() {
        return;
    }
    head(
        out,
        "active_downstream_requests",
        "gauge",
        "Requests of clients being served.",
    );
    for (model, value) in models {
        let model = escaped(&model);
        let _ = writeln!(
            out,
            "kthena_router_active_downstream_requests{{model=\"{model}\"}} {value}"
        );
    }
}

fn upstream(out: &mut String, cells: &Cells) {
    let mut sums: BTreeMap<&Destination, i64> = BTreeMap::new();
    for (key, cell) in cells {
        if let Some(destination) = &key.destination {
            *sums.entry(destination).or_default() += cell.upstream.load(Ordering::Relaxed);
        }
    }
    if sums.is_empty() {
        return;
    }
    head(
        out,
        "active_upstream_requests",
        "gauge",
        "Attempts being worked on by backends.",
    );
    for (destination, value) in sums {
        let server = escaped(&destination.backend);
        let labels = destination_labels(Some(destination));
        let _ = writeln!(
            out,
            "kthena_router_active_upstream_requests{{model_server=\"{server}\",{labels}}} {value}"
        );
    }
}

fn requests(out: &mut String, cells: &Cells) {
    if cells.is_empty() {
        return;
    }
    head(out, "requests_total", "counter", "Finished requests.");
    for (key, cell) in cells {
        for end in ends(cell) {
            let count: u64 = end
                .durations
                .buckets
                .iter()
                .map(|bucket| bucket.load(Ordering::Relaxed))
                .sum();
            let labels = key_labels(key);
            let (status, error) = (end.status, end.error_type);
            let destination = destination_labels(key.destination.as_ref());
            let _ = writeln!(
                out,
                "kthena_router_requests_total{{{labels},status_code=\"{status}\",error_type=\"{error}\",{destination}}} {count}"
            );
        }
    }
}

fn durations(out: &mut String, cells: &Cells) {
    if cells.is_empty() {
        return;
    }
    head(
        out,
        "request_duration_seconds",
        "histogram",
        "Time from the read body to the end of the answer.",
    );
    for (key, cell) in cells {
        let mut by_status: BTreeMap<u16, Vec<Arc<End>>> = BTreeMap::new();
        for end in ends(cell) {
            by_status.entry(end.status).or_default().push(end);
        }
        for (status, ends) in by_status {
            histogram(out, key, status, &ends);
        }
    }
}

fn histogram(out: &mut String, key: &CellKey, status: u16, ends: &[Arc<End>]) {
    let destination = destination_labels(key.destination.as_ref());
    let labels = format!("{},status_code=\"{status}\",{destination}", key_labels(key));
    let durations: Vec<_> = ends.iter().map(|end| &end.durations).collect();
    series(out, "request_duration_seconds", &labels, &durations);
}

/// One histogram: the sum of `parts`.
fn series(out: &mut String, name: &str, labels: &str, parts: &[&Histogram]) {
    let counts: Vec<u64> = (0..=BOUNDS.len())
        .map(|bucket| {
            let counts = parts.iter().map(|part| &part.buckets[bucket]);
            counts.map(|count| count.load(Ordering::Relaxed)).sum()
        })
        .collect();
    let nanos: u64 = parts
        .iter()
        .map(|part| part.nanos.load(Ordering::Relaxed))
        .sum();
    let seconds = std::time::Duration::from_nanos(nanos).as_secs_f64();
    write_histogram(out, name, labels, &BOUNDS, (&counts, seconds));
}

/// Durations of the halves of shared requests, by model and path.
fn phases(out: &mut String, cells: &Cells, phase: Phase) {
    let mut found: BTreeMap<(String, u16), Vec<&Histogram>> = BTreeMap::new();
    for (key, cell) in cells {
        let Some(phases) = cell.phases.get() else {
            continue;
        };
        let [failed, well] = &phases[phase as usize];
        for (status, histogram) in [(200, well), (500, failed)] {
            let is_used = |count: &AtomicU64| count.load(Ordering::Relaxed) > 0;
            if histogram.buckets.iter().any(is_used) {
                let entry = found.entry((key_labels(key), status)).or_default();
                entry.push(histogram);
            }
        }
    }
    if found.is_empty() {
        return;
    }
    let (name, help) = match phase {
        Phase::Prefill => (
            "request_prefill_duration_seconds",
            "Time of the prefill half of shared requests.",
        ),
        Phase::Decode => (
            "request_decode_duration_seconds",
            "Time of the decode half of shared requests.",
        ),
    };
    head(out, name, "histogram", help);
    for ((labels, status), parts) in &found {
        let labels = format!("{labels},status_code=\"{status}\"");
        series(out, name, &labels, parts);
    }
}

fn tokens(out: &mut String, cells: &Cells) {
    let counts = |cell: &Cell| {
        [
            ("input", &cell.input_tokens),
            ("output", &cell.output_tokens),
        ]
        .map(|(kind, count)| (kind, count.load(Ordering::Relaxed)))
    };
    if !cells
        .values()
        .any(|cell| counts(cell).iter().any(|(_, count)| *count > 0))
    {
        return;
    }
    head(
        out,
        "tokens_total",
        "counter",
        "Tokens of prompts, estimated, and of answers, as engines report them.",
    );
    for (key, cell) in cells {
        for (kind, count) in counts(cell).into_iter().filter(|(_, count)| *count > 0) {
            let destination = destination_labels(key.destination.as_ref());
            let labels = key_labels(key);
            let _ = writeln!(
                out,
                "kthena_router_tokens_total{{{labels},token_type=\"{kind}\",{destination}}} {count}"
            );
        }
    }
}

/// Refused requests by model, kind of limit and path.
fn limited(out: &mut String, cells: &Cells) {
    let mut sums: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for (key, cell) in cells {
        for (limit, kind) in [
            (TokenLimit::Input, "input_tokens"),
            (TokenLimit::Output, "output_tokens"),
        ] {
            let count = cell.limited[limit as usize].load(Ordering::Relaxed);
            if count > 0 {
                *sums.entry((&key.model, kind, key.path)).or_default() += count;
            }
        }
    }
    if sums.is_empty() {
        return;
    }
    let name = "rate_limit_exceeded_total";
    head(
        out,
        name,
        "counter",
        "Requests refused for a limit on tokens.",
    );
    for ((model, kind, path), count) in sums {
        let model = escaped(model);
        let labels = format!("model=\"{model}\",limit_type=\"{kind}\",path=\"{path}\"");
        sample(out, name, &labels, &count);
    }
}

fn ends(cell: &Cell) -> Vec<Arc<End>> {
    let mut ends = read(&cell.ends).clone();
    ends.sort_by_key(|end| (end.status, end.error_type));
    ends
}

fn key_labels(key: &CellKey) -> String {
    format!("model=\"{}\",path=\"{}\"", escaped(&key.model), key.path)
}

fn destination_labels(destination: Option<&Destination>) -> String {
    let or_none = |text: &str| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            escaped(text)
        }
    };
    let [route, kind, backend, model] = match destination {
        Some(to) => [
            or_none(&to.route),
            to.kind.label().to_owned(),
            or_none(&to.backend),
            or_none(&to.upstream_model),
        ],
        None => ["none", "unresolved", "none", "none"].map(str::to_owned),
    };
    format!(
        "model_route=\"{route}\",backend_type=\"{kind}\",backend_name=\"{backend}\",upstream_model=\"{model}\""
    )
}
