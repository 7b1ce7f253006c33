//! Which pods a model server consists of, and how requests to them behave.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kthena_api::duration::GoDuration;
use kthena_api::model_server::{
    InferenceEngine, ModelServer, ModelServerSpec, PdGroup, TrafficPolicy,
};
use kthena_router_scheduler::{Candidate, Endpoint};

/// A `ModelServer` with its pods.
#[derive(Debug)]
pub struct ServerView {
    /// `namespace/name`.
    pub key: Arc<str>,
    /// The name its engines know the model by; `None` = as the client wrote it.
    pub model: Option<Arc<str>>,
    /// Which engine the pods run.
    pub engine: InferenceEngine,
    /// Limit from dial to response headers, per attempt.
    pub timeout: Option<Duration>,
    /// How often an attempt is repeated; `None` = once per candidate.
    pub attempts: Option<Attempts>,
    /// The pods that requests go to.
    pub members: Members,
}

/// `trafficPolicy.retry` in real units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts after the first.
    pub retries: u32,
    /// Wait before each of them.
    pub interval: Duration,
}

/// The pods of a model server.
#[derive(Debug)]
pub enum Members {
    /// Every pod serves whole requests.
    Aggregated(Vec<Candidate>),
    /// Prefill and decode run in different pods.
    Disaggregated {
        /// Decode pods of all groups.
        decode: Vec<Candidate>,
        /// By value of the group label; no group is empty.
        groups: BTreeMap<String, Group>,
    },
}

/// Pods that may hand KV cache to each other.
#[derive(Debug, Default)]
pub struct Group {
    /// Pods that prefill.
    pub prefill: Vec<Candidate>,
    /// Pods that decode.
    pub decode: Vec<Candidate>,
}

/// A ready pod.
#[derive(Debug)]
pub(crate) struct ReadyPod {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) endpoint: Arc<Endpoint>,
}

const RETRY_INTERVAL: Duration = Duration::from_millis(100);

impl ServerView {
    /// The view of `server` when `pods` are the ready pods of its namespace.
    pub(crate) fn build<'p>(
        key: Arc<str>,
        server: &ModelServer,
        pods: impl Iterator<Item = &'p ReadyPod>,
    ) -> Self {
        let spec = &server.spec;
        let policy = spec.traffic_policy.as_ref();
        Self {
            key,
            model: spec
                .model
                .as_deref()
                .filter(|model| !model.is_empty())
                .map(Arc::from),
            engine: spec.inference_engine,
            timeout: policy.and_then(|policy| positive(policy.timeout)),
            attempts: policy.and_then(attempts),
            members: members(spec, pods),
        }
    }

    /// The pods a whole request may be sent to. A decode pod answers on its own when nothing was prefilled for it.
    pub fn candidates(&self) -> &[Candidate] {
        match &self.members {
            Members::Aggregated(all) => all,
            Members::Disaggregated { decode, .. } => decode,
        }
    }

    /// How many pods the server has, whatever their role.
    pub fn size(&self) -> usize {
        match &self.members {
            Members::Aggregated(all) => all.len(),
            Members::Disaggregated { groups, .. } => groups
                .values()
                .map(|group| group.prefill.len() + group.decode.len())
                .sum(),
        }
    }
}

/// Whether `server` selects a pod of its namespace with these labels. A server without labels selects nothing.
pub(crate) fn selects(server: &ModelServer, labels: &BTreeMap<String, String>) -> bool {
    server
        .spec
        .workload_selector
        .as_ref()
        .is_some_and(|selector| carries(labels, &selector.match_labels))
}

/// Whether `labels` has all of `wanted`; an empty wish is not met by anything.
fn carries(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    !wanted.is_empty()
        && wanted
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}

fn positive(duration: Option<GoDuration>) -> Option<Duration> {
    duration
        .and_then(GoDuration::to_std)
        .filter(|duration| !duration.is_zero())
}

fn attempts(policy: &TrafficPolicy) -> Option<Attempts> {
    let retry = policy.retry.as_ref()?;
    let interval = retry.retry_interval.map_or(RETRY_INTERVAL, |interval| {
        interval.to_std().unwrap_or_default()
    });
    Some(Attempts {
        retries: retry
            .attempts
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
        interval,
    })
}

fn members<'p>(spec: &ModelServerSpec, pods: impl Iterator<Item = &'p ReadyPod>) -> Members {
    let selector = spec.workload_selector.as_ref();
    let port = u16::try_from(spec.workload_port.port)
        .ok()
        .filter(|port| *port > 0);
    let selected = pods.filter_map(|pod| {
        let wanted = &selector?.match_labels;
        let address = SocketAddr::new(pod.address?, port?);
        let candidate = Candidate {
            endpoint: Arc::clone(&pod.endpoint),
            address,
        };
        carries(&pod.labels, wanted).then_some((pod, candidate))
    });
    match selector.and_then(|selector| selector.pd_group.as_ref()) {
        None => Members::Aggregated(selected.map(|(_, candidate)| candidate).collect()),
        Some(pd) => disaggregated(pd, selected),
    }
}

fn disaggregated<'p>(
    pd: &PdGroup,
    selected: impl Iterator<Item = (&'p ReadyPod, Candidate)>,
) -> Members {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut decode = Vec::new();
    for (pod, candidate) in selected {
        let Some(group) = pod
            .labels
            .get(&pd.group_key)
            .filter(|value| !value.is_empty())
        else {
            continue;
        };
        if carries(&pod.labels, &pd.decode_labels) {
            decode.push(candidate.clone());
            groups
                .entry(group.clone())
                .or_default()
                .decode
                .push(candidate);
        } else if carries(&pod.labels, &pd.prefill_labels) {
            groups
                .entry(group.clone())
                .or_default()
                .prefill
                .push(candidate);
        }
    }
    Members::Disaggregated { decode, groups }
}
