//! What changed since the last look, as lines for a log.

use std::collections::BTreeMap;

use crate::view::{PodView, ServingView, View};

/// Remembers what was said, so that each change is told once.
#[derive(Debug, Default)]
pub struct Progress {
    said: BTreeMap<String, String>,
}

impl Progress {
    /// One line for each ModelServing and pod that looks different from the last call.
    pub fn changes(&mut self, view: &View) -> Vec<String> {
        let now: BTreeMap<String, String> = view
            .pods()
            .map(|pod| (format!("pod {}", pod.name), pod_text(pod)))
            .chain(
                view.servings
                    .iter()
                    .map(|serving| (serving.name.clone(), serving_text(serving))),
            )
            .collect();
        let gone = self
            .said
            .keys()
            .filter(|name| !now.contains_key(*name))
            .map(|name| format!("{name}: gone"));
        let changed = now
            .iter()
            .filter(|(name, text)| self.said.get(*name) != Some(*text))
            .map(|(name, text)| format!("{name}: {text}"));
        let lines = gone.chain(changed).collect();
        self.said = now;
        lines
    }
}

fn pod_text(pod: &PodView) -> String {
    let place = pod
        .address
        .as_ref()
        .map(|address| format!(" at {address}"))
        .unwrap_or_default();
    let restarts = match pod.restarts {
        0 => String::new(),
        count => format!(", {count} restarts"),
    };
    if pod.ready {
        format!("ready{place}{restarts}")
    } else {
        format!("{}{place}{restarts}", pod.state)
    }
}

fn serving_text(serving: &ServingView) -> String {
    format!("{} of {} groups ready", serving.available, serving.wanted)
}
