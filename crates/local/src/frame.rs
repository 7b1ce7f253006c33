//! A view as lines of text.

use crate::view::{PodView, ServingView, View};

/// The lines of `view`, cut to `width` columns; `None` = not cut.
pub fn lines(view: &View, width: Option<usize>) -> Vec<String> {
    let name_width = view
        .pods()
        .map(|pod| pod.name.len())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut lines = Vec::new();
    for serving in &view.servings {
        lines.push(serving_line(serving));
        for (group, pods) in &serving.groups {
            let ready = pods.iter().filter(|pod| pod.ready).count();
            lines.push(format!("  {group}  {ready}/{} pods ready", pods.len()));
            lines.extend(pods.iter().map(|pod| pod_line(pod, "    ", name_width)));
        }
    }
    if !view.others.is_empty() {
        lines.push("other pods".to_owned());
        lines.extend(
            view.others
                .iter()
                .map(|pod| pod_line(pod, "  ", name_width)),
        );
    }
    if lines.is_empty() {
        lines.push("nothing runs yet".to_owned());
    }
    if let Some(width) = width {
        for line in &mut lines {
            cut(line, width);
        }
    }
    lines
}

fn serving_line(serving: &ServingView) -> String {
    let mut parts = vec![format!(
        "{}  {}/{} groups ready",
        serving.name, serving.available, serving.wanted
    )];
    if serving.updated < serving.wanted && serving.observed {
        parts.push(format!("{} updated", serving.updated));
    }
    parts.extend(serving.waiting.clone());
    parts.join(", ")
}

fn pod_line(pod: &PodView, indent: &str, name_width: usize) -> String {
    let mark = if pod.ready { "ready" } else { "" };
    let address = pod.address.as_deref().unwrap_or("-");
    let mut columns = vec![format!(
        "{indent}{:name_width$}  {mark:<5}  {:<16}  {address:<15}",
        pod.name, pod.state
    )];
    if let Some(load) = pod.load {
        columns.push(format!(
            "{:.0} running, {:.0} waiting, KV cache {:.0} %",
            load.running,
            load.waiting,
            load.kv_usage * 100.0
        ));
    }
    if pod.restarts > 0 {
        columns.push(format!("{} restarts", pod.restarts));
    }
    columns.join("  ").trim_end().to_owned()
}

fn cut(line: &mut String, width: usize) {
    if let Some((end, _)) = line.char_indices().nth(width) {
        line.truncate(end);
    }
}
