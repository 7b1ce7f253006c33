//! What a person wants to see of a machine: models, groups, roles, pods, and how busy they are.
//!
//! A [`View`] is made from what the API server holds; nothing here waits or writes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use kthena_api::labels;
use kthena_api::model_serving::ModelServing;
use kthena_controllers_driver::LeaderWorkerSet;

/// Everything worth showing at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// In order of namespace and name.
    pub servings: Vec<ServingView>,
    /// Pods that belong to no ModelServing.
    pub others: Vec<PodView>,
}

/// A ModelServing and its groups.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServingView {
    /// `name`, or `namespace/name` outside the default namespace.
    pub name: String,
    /// Groups wanted.
    pub wanted: i32,
    /// Groups that are ready.
    pub available: i32,
    /// Groups on the newest revision.
    pub updated: i32,
    /// Whether the controller has seen the newest spec.
    pub observed: bool,
    /// What is being waited for, in the controller's words.
    pub waiting: Option<String>,
    /// Pods by serving group.
    pub groups: BTreeMap<String, Vec<PodView>>,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodView {
    /// `name`, or `namespace/name` outside the default namespace.
    pub name: String,
    /// `role-ordinal`, empty for a pod of no ModelServing.
    pub role: String,
    /// One word or reason, as `kubectl get pods` shows it.
    pub state: String,
    /// Whether it takes requests.
    pub ready: bool,
    /// Its address, once it has one.
    pub address: Option<String>,
    /// Restarts of its containers, summed.
    pub restarts: i32,
    /// How busy its engine is, if known.
    pub load: Option<EngineLoad>,
}

/// How busy an engine is, by its own account.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EngineLoad {
    /// Requests it works on.
    pub running: f64,
    /// Requests that wait for it.
    pub waiting: f64,
    /// Share of its KV cache in use, 0 to 1.
    pub kv_usage: f64,
}

impl View {
    /// What `servings` and `pods` amount to.
    pub fn of<'a>(
        servings: impl IntoIterator<Item = &'a ModelServing>,
        pods: impl IntoIterator<Item = &'a Pod>,
    ) -> Self {
        let mut by_name: BTreeMap<(String, String), ServingView> = servings
            .into_iter()
            .map(|serving| {
                let key = (
                    serving.metadata.namespace.clone().unwrap_or_default(),
                    serving.metadata.name.clone().unwrap_or_default(),
                );
                (key, serving_view(serving))
            })
            .collect();
        let mut others = Vec::new();
        for pod in pods {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let owner =
                label(pod, labels::MODEL_SERVING_NAME).map(|name| (namespace, name.to_owned()));
            let view = pod_view(pod);
            match owner.and_then(|owner| by_name.get_mut(&owner)) {
                Some(serving) => {
                    let group = label(pod, labels::GROUP_NAME)
                        .unwrap_or_default()
                        .to_owned();
                    serving.groups.entry(group).or_default().push(view);
                }
                None => others.push(view),
            }
        }
        let mut servings: Vec<_> = by_name.into_values().collect();
        for pods in servings
            .iter_mut()
            .flat_map(|serving| serving.groups.values_mut())
        {
            pods.sort_by(|a, b| a.name.cmp(&b.name));
        }
        others.sort_by(|a, b| a.name.cmp(&b.name));
        Self { servings, others }
    }

    /// Adds LeaderWorkerSets whose ModelServing is not there yet: they are waited for too.
    pub fn expect<'a>(&mut self, sets: impl IntoIterator<Item = &'a LeaderWorkerSet>) {
        for set in sets {
            let waiting = set_view(set);
            if self.servings.iter().all(|one| one.name != waiting.name) {
                self.servings.push(waiting);
            }
        }
        self.servings.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Every pod.
    pub fn pods(&self) -> impl Iterator<Item = &PodView> {
        self.servings
            .iter()
            .flat_map(|serving| serving.groups.values().flatten())
            .chain(&self.others)
    }

    /// Every pod, to be completed.
    pub fn pods_mut(&mut self) -> impl Iterator<Item = &mut PodView> {
        self.servings
            .iter_mut()
            .flat_map(|serving| serving.groups.values_mut().flatten())
            .chain(&mut self.others)
    }

    /// Whether everything that was asked for is up. What the controller counted is not enough: after a restart it
    /// is the count of before, until the controller has looked again.
    pub fn is_settled(&self) -> bool {
        self.servings
            .iter()
            .all(|serving| serving.observed && serving.available >= serving.wanted)
            && self
                .servings
                .iter()
                .flat_map(|serving| serving.groups.values().flatten())
                .all(|pod| pod.ready)
            && self
                .others
                .iter()
                .all(|pod| pod.ready || pod.state == "Succeeded")
    }
}

fn serving_view(serving: &ModelServing) -> ServingView {
    let status = serving.status.clone().unwrap_or_default();
    let waiting = status
        .conditions
        .unwrap_or_default()
        .into_iter()
        .find_map(|condition| {
            (condition.type_ != "Available" && condition.status == "True")
                .then_some(condition.message)
        });
    ServingView {
        name: display_name(
            serving.metadata.namespace.as_deref(),
            serving.metadata.name.as_deref(),
        ),
        wanted: serving.spec.replicas.unwrap_or(1),
        available: status.available_replicas,
        updated: status.updated_replicas,
        observed: serving
            .metadata
            .generation
            .is_some_and(|generation| status.observed_generation >= generation),
        waiting,
        groups: BTreeMap::new(),
    }
}

/// A set that nothing serves yet.
fn set_view(set: &LeaderWorkerSet) -> ServingView {
    let status = set.status.clone().unwrap_or_default();
    let mut conditions = status.conditions.into_iter().flatten();
    let blocked = conditions.find(|one| one.type_ == "Blocked" && one.status == "True");
    let waiting = blocked.map_or_else(
        || "waiting for its ModelServing".to_owned(),
        |blocked| blocked.message,
    );
    ServingView {
        name: display_name(
            set.metadata.namespace.as_deref(),
            set.metadata.name.as_deref(),
        ),
        wanted: set.spec.replicas.unwrap_or(1),
        waiting: Some(waiting),
        ..ServingView::default()
    }
}

fn pod_view(pod: &Pod) -> PodView {
    let status = pod.status.as_ref();
    let containers = status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    PodView {
        name: display_name(
            pod.metadata.namespace.as_deref(),
            pod.metadata.name.as_deref(),
        ),
        role: label(pod, labels::ROLE_ID).unwrap_or_default().to_owned(),
        state: state(pod),
        ready: is_ready(pod),
        address: status.and_then(|status| status.pod_ip.clone()),
        restarts: containers
            .iter()
            .map(|container| container.restart_count)
            .sum(),
        load: None,
    }
}

/// A pod that is not going away and has its condition `Ready`.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let Some(status) = &pod.status else {
        return "Pending".to_owned();
    };
    let all = |statuses: &Option<Vec<ContainerStatus>>| statuses.clone().unwrap_or_default();
    let stuck = all(&status.init_container_statuses)
        .into_iter()
        .chain(all(&status.container_statuses))
        .filter_map(|container| container.state)
        .find_map(|state| reason(&state));
    let unplaced = status
        .conditions
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find_map(|condition| {
            let refused = condition.type_ == "PodScheduled" && condition.status == "False";
            refused
                .then(|| {
                    condition
                        .message
                        .clone()
                        .or_else(|| condition.reason.clone())
                })
                .flatten()
        });
    stuck
        .or(unplaced)
        .or_else(|| status.phase.clone())
        .unwrap_or_else(|| "Pending".to_owned())
}

/// Why a container is not running, if it should be.
fn reason(state: &ContainerState) -> Option<String> {
    if let Some(waiting) = &state.waiting {
        return waiting
            .reason
            .clone()
            .filter(|reason| reason != "ContainerCreating" && reason != "PodInitializing");
    }
    let terminated = state.terminated.as_ref()?;
    (terminated.exit_code != 0).then(|| {
        terminated
            .reason
            .clone()
            .unwrap_or_else(|| format!("ExitCode:{}", terminated.exit_code))
    })
}

fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn display_name(namespace: Option<&str>, name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    match namespace {
        None | Some("" | "default") => name.to_owned(),
        Some(namespace) => format!("{namespace}/{name}"),
    }
}
