//! How busy engines say they are: three gauges of their metrics page, for people to look at.
//!
//! Only the live view asks; the router has its own samples.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;

use crate::view::{EngineLoad, View};

/// An engine that has not answered by then shows no load.
const PATIENCE: Duration = Duration::from_millis(500);
/// Engines asked at the same time.
const AT_ONCE: usize = 16;
/// Where engines listen when nothing else is known.
const PORT: u16 = 8000;

/// Fills in the load of every ready pod that answers in time.
pub async fn complete(view: &mut View, client: &reqwest::Client) {
    let pods: Vec<_> = view
        .pods_mut()
        .filter(|pod| pod.ready && pod.address.is_some())
        .collect();
    stream::iter(pods)
        .for_each_concurrent(AT_ONCE, |pod| async {
            if let Some(address) = &pod.address {
                pod.load = load(client, address).await;
            }
        })
        .await;
}

async fn load(client: &reqwest::Client, address: &str) -> Option<EngineLoad> {
    let url = format!("http://{address}:{PORT}/metrics");
    let response = client.get(url).timeout(PATIENCE).send().await.ok()?;
    let text = response.text().await.ok()?;
    parse(&text)
}

/// The load in a metrics page; `None` if it is no engine's.
pub(crate) fn parse(page: &str) -> Option<EngineLoad> {
    let sum = |names: [&str; 2]| -> Option<f64> {
        let values: Vec<f64> = page
            .lines()
            .filter_map(|line| sample(line, &names))
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    };
    Some(EngineLoad {
        running: sum(["vllm:num_requests_running", "sglang:num_running_reqs"])?,
        waiting: sum(["vllm:num_requests_waiting", "sglang:num_queue_reqs"])?,
        kv_usage: sum(["vllm:kv_cache_usage_perc", "sglang:token_usage"]).unwrap_or_default(),
    })
}

/// The value of a line that is a sample of one of `names`.
fn sample(line: &str, names: &[&str]) -> Option<f64> {
    let end = line.find(['{', ' '])?;
    if !names.contains(&&line[..end]) {
        return None;
    }
    line.rsplit(' ').next()?.parse().ok()
}
