//! Corrects what the server says of pods whose processes have gone since it was told.
//!
//! An agent that was killed has left its pods shown as ready. Their workers would correct that, but only once the
//! agent runs, and whoever starts at the same time would believe it. So a start corrects it and does not return
//! before. Nothing else is written here: pods that still are ready, and all other news, are left to the workers.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Map, Value};
use tokio::time::{sleep, timeout};

use super::shared::{Shared, key, place, uid};
use super::worker::fresh_record;
use super::writer::{self, Written};
use super::{adopt, launcher};
use crate::error::NodeError;
use crate::plan::memory::Event;
use crate::plan::status::status;
use crate::plan::wish::PodWish;
use crate::state::PodRecord;
use crate::supervisor::protocol::Known;

/// How long all of it may take before the start is given up.
const PATIENCE: Duration = Duration::from_mins(1);
/// Before what could not be written is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Writes under way at a time.
const ABREAST: usize = 16;

/// Returns once no pod of this node is shown ready that is not.
pub(super) async fn correct(
    shared: &Shared,
    records: &BTreeMap<String, PodRecord>,
    known: &[Known],
) -> Result<(), NodeError> {
    let work = async {
        while !pass(shared, records, known).await? {}
        Ok(())
    };
    timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        Err(NodeError::Stale {
            name: shared.config.name.clone(),
        })
    })
}

/// Looks at all pods once. Answers whether nothing is left to correct.
async fn pass(
    shared: &Shared,
    records: &BTreeMap<String, PodRecord>,
    known: &[Known],
) -> Result<bool, NodeError> {
    let of_node = ListParams::default().fields(&format!("spec.nodeName={}", shared.config.name));
    let pods = Api::<Pod>::all(shared.client.clone())
        .list(&of_node)
        .await
        .map_err(|source| NodeError::Pods {
            name: shared.config.name.clone(),
            source: Box::new(source),
        })?;
    let stale = pods.items.iter().filter_map(|pod| {
        let record = records.get(uid(pod));
        Some((pod, correction(shared, pod, record, known)?))
    });
    let writes: Vec<_> = stale
        .map(|(pod, difference)| async move {
            tracing::info!(pod = %key(pod), "its processes have gone: shown as not ready");
            writer::write(&shared.client, &key(pod), uid(pod), difference).await
        })
        .collect();
    let written: Vec<Written> = stream::iter(writes)
        .buffer_unordered(ABREAST)
        .collect()
        .await;
    let is_done = !written.contains(&Written::No);
    if !is_done {
        sleep(RETRY).await;
    }
    Ok(is_done)
}

/// What to write about a pod that is shown ready and is not.
fn correction(
    shared: &Shared,
    pod: &Pod,
    record: Option<&PodRecord>,
    known: &[Known],
) -> Option<Map<String, Value>> {
    let shown = pod.status.as_ref().filter(|shown| claims_ready(shown))?;
    let now = Timestamp::now();
    let mut record = match record {
        Some(record) => record.clone(),
        None => fresh_record(pod, shown.pod_ip.as_ref()?.parse().ok()?),
    };
    for ended in adopt::take_up(&mut record, known, &shared.config, now) {
        let Some(end) = &ended.ended else { continue };
        let exit = Event::Exited(launcher::exit(ended.started_at, end));
        for container in record.live() {
            if record.id_of(&container) == ended.id {
                record
                    .memory
                    .record(&container, exit.clone(), &shared.config.backoff);
            }
        }
    }
    let place = place(shared, record.address);
    let wanted = status(
        pod,
        Some(shown),
        &PodWish::of(pod),
        &record.memory,
        place,
        now,
    );
    if claims_ready(&wanted) {
        return None;
    }
    writer::difference(Some(shown), &wanted)
}

fn claims_ready(status: &PodStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| {
        matches!(condition.type_.as_str(), "Ready" | "ContainersReady")
            && condition.status == "True"
    })
}
