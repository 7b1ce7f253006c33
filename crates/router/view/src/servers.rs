//! Which pods a model server consists of, and how requests to them behave.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kthena_api::duration::GoDuration;
use kthena_api::model_server::{
    InferenceEngine, KvConnectorType, ModelServer, ModelServerSpec, PdGroup, Protocol,
    TrafficPolicy,
};
use kthena_router_scheduler::{Candidate, Endpoint};

use crate::budget::RetryBudget;
use crate::cache_events::CacheEvents;

/// A `ModelServer` with its pods.
#[derive(Debug)]
pub struct ServerView {
    /// `namespace/name`.
    pub key: Arc<str>,
    /// The name its engines know the model by; `None` = as the client wrote it.
    pub model: Option<Arc<str>>,
    /// Which engine the pods run.
    pub engine: InferenceEngine,
    /// How its engines are spoken to.
    pub protocol: Protocol,
    /// Where its engines tell what they cache.
    pub cache_events: Arc<CacheEvents>,
    /// Limit from dial to response headers, per attempt.
    pub timeout: Option<Duration>,
    /// How often an attempt is repeated; `None` = once per candidate.
    pub attempts: Option<Attempts>,
    /// How prefill pods hand their KV cache on, if that was configured.
    pub connector: Option<KvConnectorType>,
    /// Bounds the repeated attempts of all its requests together. Outlives changes of the server.
    pub budget: Arc<RetryBudget>,
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
    Disaggregated(Roles),
}

/// The pods of a model server by what they do.
#[derive(Debug, Default)]
pub struct Roles {
    decode: Vec<Candidate>,
    /// How many of them, from the first, are in groups that also prefill.
    paired: usize,
    /// For each decode pod the position of its group.
    group_of: Vec<usize>,
    groups: Vec<Group>,
}

/// Pods that may hand KV cache to each other.
#[derive(Debug, Default)]
pub struct Group {
    /// Value of the group label.
    pub name: String,
    /// Pods that prefill.
    pub prefill: Vec<Candidate>,
    /// How many pods decode.
    pub decode: usize,
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
        budget: Arc<RetryBudget>,
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
            protocol: spec.workload_port.protocol.unwrap_or_default(),
            cache_events: Arc::new(
                server
                    .metadata
                    .annotations
                    .as_ref()
                    .map(CacheEvents::read)
                    .unwrap_or_default(),
            ),
            timeout: policy.and_then(|policy| positive(policy.timeout)),
            attempts: policy.and_then(attempts),
            connector: spec
                .kv_connector
                .as_ref()
                .and_then(|connector| connector.kind),
            budget,
            members: members(spec, pods),
        }
    }

    /// All its pods that can be reached, whatever they do; decode pods first.
    pub fn pods(&self) -> impl Iterator<Item = &Candidate> {
        let (first, groups) = match &self.members {
            Members::Aggregated(all) => (all, &[][..]),
            Members::Disaggregated(roles) => (&roles.decode, &roles.groups[..]),
        };
        first
            .iter()
            .chain(groups.iter().flat_map(|group| &group.prefill))
    }

    /// Requests that this router has under way on the server's pods, the halves of a pair counted one by one.
    pub fn in_flight(&self) -> u32 {
        self.pods().fold(0, |sum: u32, pod| {
            sum.saturating_add(pod.endpoint.in_flight())
        })
    }
}

impl Roles {
    /// Decode pods of all groups.
    pub fn decode(&self) -> &[Candidate] {
        &self.decode
    }

    /// Decode pods whose group has a prefill pod. The others cannot serve, and as they are always idle they would be
    /// preferred.
    pub fn paired(&self) -> &[Candidate] {
        &self.decode[..self.paired]
    }

    /// The prefill pods that may work for the decode pod at this position of [`Roles::decode`].
    pub fn partners(&self, decode: usize) -> &[Candidate] {
        self.group_of(decode).map_or(&[], |group| &group.prefill)
    }

    /// The groups by name, those that prefill first. None is empty.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group of the decode pod at this position of [`Roles::decode`].
    pub fn group_of(&self, decode: usize) -> Option<&Group> {
        self.groups.get(*self.group_of.get(decode)?)
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
        Some(pd) => Members::Disaggregated(roles(pd, selected)),
    }
}

fn roles<'p>(pd: &PdGroup, selected: impl Iterator<Item = (&'p ReadyPod, Candidate)>) -> Roles {
    #[derive(Default)]
    struct Found {
        decode: Vec<Candidate>,
        prefill: Vec<Candidate>,
    }
    let mut found: BTreeMap<&str, Found> = BTreeMap::new();
    for (pod, candidate) in selected {
        let Some(group) = pod
            .labels
            .get(&pd.group_key)
            .filter(|value| !value.is_empty())
        else {
            continue;
        };
        if carries(&pod.labels, &pd.decode_labels) {
            found.entry(group).or_default().decode.push(candidate);
        } else if carries(&pod.labels, &pd.prefill_labels) {
            found.entry(group).or_default().prefill.push(candidate);
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(_, found)| found.prefill.is_empty());
    let mut roles = Roles::default();
    for (position, (name, Found { decode, prefill })) in found.into_iter().enumerate() {
        if !prefill.is_empty() {
            roles.paired += decode.len();
        }
        roles.groups.push(Group {
            name: name.to_owned(),
            prefill,
            decode: decode.len(),
        });
        roles
            .group_of
            .resize(roles.group_of.len() + decode.len(), position);
        roles.decode.extend(decode);
    }
    roles
}
