//! A cluster in memory: carries plans out as an API server would, and lets pods live and die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kthena_api::labels;
use kthena_api::model_serving::ModelServing;
use serde_json::{Value, json};

use crate::memory::Memory;
use crate::moment::Moment;
use crate::plan::{Action, Plan, plan};
use crate::revision::{Blueprint, SnapshotContent};
use crate::view::{
    GangSupport, PodGroupView, PodPhase, PodView, ServiceView, ServingView, SnapshotView,
};

/// Uid of the `ModelServing` under test.
pub(crate) const UID: &str = "uid-of-sample";

/// One role of `replicas` instances with `workers` workers each.
pub(crate) fn role(name: &str, replicas: i32, workers: i32) -> Value {
    let template = json!({ "spec": { "containers": [{ "name": "engine", "image": "engine:1" }] } });
    let mut role = json!({
        "name": name, "replicas": replicas, "workerReplicas": workers, "entryTemplate": template,
    });
    if workers > 0 {
        role["workerTemplate"] = template;
    }
    role
}

/// A `ModelServing` named `sample` in `default`.
pub(crate) fn serving(replicas: i32, roles: &[Value]) -> ModelServing {
    serde_json::from_value(json!({
        "metadata": { "name": "sample", "namespace": "default", "uid": UID, "generation": 1 },
        "spec": { "replicas": replicas, "schedulerName": "volcano", "template": { "roles": roles } },
    }))
    .unwrap()
}

/// The cluster, and the controller's memory of it.
#[derive(Debug, Clone)]
pub(crate) struct Sim {
    pub(crate) serving: ModelServing,
    pub(crate) pods: BTreeMap<String, PodView>,
    pub(crate) services: BTreeMap<String, ServiceView>,
    pub(crate) snapshots: BTreeMap<String, SnapshotView>,
    pub(crate) pod_groups: BTreeMap<String, PodGroupView>,
    pub(crate) gang: Option<GangSupport>,
    /// Rendered pods by name, for tests that look into them.
    pub(crate) rendered: BTreeMap<String, Value>,
    pub(crate) memory: Memory,
    pub(crate) now: Moment,
    /// Deleted pods stay as terminating until they are told to go.
    pub(crate) is_graceful: bool,
    serial: u32,
}

impl Sim {
    pub(crate) fn new(serving: ModelServing) -> Self {
        Self {
            serving,
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            pod_groups: BTreeMap::new(),
            gang: None,
            rendered: BTreeMap::new(),
            memory: Memory::default(),
            now: Moment {
                wall: Timestamp::from_second(1_800_000_000).unwrap(),
                steady: Duration::from_secs(1_000),
            },
            is_graceful: false,
            serial: 0,
        }
    }

    /// All groups up and ready.
    pub(crate) fn settled(serving: ModelServing) -> Self {
        let mut sim = Self::new(serving);
        sim.settle();
        sim
    }

    /// Time passes, on both clocks.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now.wall += time;
        self.now.steady += time;
    }

    pub(crate) fn view(&self) -> ServingView {
        ServingView {
            serving: Arc::new(self.serving.clone()),
            blueprint: Arc::new(Blueprint::of(&self.serving.spec.template.roles)),
            pods: self.pods.values().cloned().map(Arc::new).collect(),
            services: self.services.values().cloned().map(Arc::new).collect(),
            snapshots: self.snapshots.values().cloned().map(Arc::new).collect(),
            pod_groups: self.pod_groups.values().cloned().map(Arc::new).collect(),
            gang: self.gang,
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&self.view(), &self.memory, self.now)
    }

    /// One pass: plan and carry out.
    pub(crate) fn step(&mut self) -> Plan {
        let plan = self.plan();
        self.memory = plan.memory.clone();
        for action in &plan.actions {
            self.apply(action);
        }
        if let Some(status) = &plan.status {
            self.serving.status = Some(status.clone());
        }
        plan
    }

    /// Passes, with everything that terminates going and everything that lives becoming ready in between, until
    /// nothing changes any more. Fails if that does not happen.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200 {
            let plan = self.step();
            let was = (self.pods.clone(), self.services.clone());
            self.reap();
            self.ready_all();
            if let Some(delay) = plan.requeue_after {
                self.wait(delay);
            }
            let is_waiting = plan.requeue_after.is_some();
            if plan.is_idle() && !is_waiting && was == (self.pods.clone(), self.services.clone()) {
                return;
            }
        }
        panic!("does not settle: {:#?}", self.plan());
    }

    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut ModelServing)) {
        change(&mut self.serving);
        let generation = self.serving.metadata.generation.unwrap_or(0);
        self.serving.metadata.generation = Some(generation + 1);
    }

    /// Gives every template another image.
    pub(crate) fn edit_image(&mut self, image: &str) {
        self.edit(|serving| {
            for role in &mut serving.spec.template.roles {
                let spec = role.entry_template.spec.get_or_insert_default();
                spec.insert(
                    "containers".to_owned(),
                    json!([{ "name": "engine", "image": image }]),
                );
            }
        });
    }

    /// A restart of the controller.
    pub(crate) fn restart(&mut self) {
        self.memory = Memory::default();
    }

    pub(crate) fn ready_all(&mut self) {
        for pod in self.pods.values_mut() {
            if matches!(pod.phase, PodPhase::Pending | PodPhase::Running) {
                pod.phase = PodPhase::Running;
                pod.is_ready = true;
            }
        }
    }

    /// What terminates is gone.
    pub(crate) fn reap(&mut self) {
        self.pods.retain(|_, pod| !pod.is_terminating);
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.pods.keys().map(String::as_str).collect()
    }

    pub(crate) fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<_> = self.pods.values().map(|pod| pod.group.as_str()).collect();
        groups.dedup();
        groups
    }

    pub(crate) fn pod(&mut self, name: &str) -> &mut PodView {
        self.pods
            .get_mut(name)
            .unwrap_or_else(|| panic!("no pod {name}"))
    }

    pub(crate) fn uids(&self) -> BTreeMap<String, String> {
        self.pods
            .iter()
            .map(|(name, pod)| (name.clone(), pod.uid.clone()))
            .collect()
    }

    pub(crate) fn status(&self) -> &kthena_api::model_serving::ModelServingStatus {
        self.serving.status.as_ref().expect("a status")
    }

    fn uid(&mut self) -> String {
        self.serial += 1;
        format!("uid-{}", self.serial)
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::CreateSnapshot { name, object } => {
                assert!(!self.snapshots.contains_key(name), "{name} exists");
                let uid = self.uid();
                self.snapshots
                    .insert(name.clone(), snapshot_of(object, uid));
            }
            Action::PatchSnapshot { name, patch } => {
                let snapshot = self.snapshots.get_mut(name).unwrap();
                let counts = &patch["metadata"]["annotations"][labels::ROLE_REPLICAS];
                if let Some(counts) = counts.as_str() {
                    snapshot.role_replicas = serde_json::from_str(counts).unwrap();
                }
                if let Some(number) = patch["revision"].as_i64() {
                    snapshot.number = number;
                }
            }
            Action::DeleteSnapshot { name, uid } => {
                if self
                    .snapshots
                    .get(name)
                    .is_some_and(|snapshot| snapshot.uid == *uid)
                {
                    self.snapshots.remove(name);
                }
            }
            Action::CreatePodGroup { .. }
            | Action::PatchPodGroup { .. }
            | Action::DeletePodGroup { .. } => self.apply_gang(action),
            Action::DeletePod { name, uid } => {
                let Some(pod) = self.pods.get_mut(name).filter(|pod| pod.uid == *uid) else {
                    return;
                };
                pod.is_terminating = true;
                if !self.is_graceful {
                    self.pods.remove(name);
                }
            }
            Action::DeleteService { name, uid } => {
                if self
                    .services
                    .get(name)
                    .is_some_and(|service| service.uid == *uid)
                {
                    self.services.remove(name);
                }
            }
            Action::CreateService { name, object } => {
                assert!(!self.services.contains_key(name), "{name} exists");
                let uid = self.uid();
                self.services.insert(name.clone(), service_of(object, uid));
            }
            Action::CreatePod { name, object } => {
                assert!(!self.pods.contains_key(name), "{name} exists");
                let revision = label(object, labels::REVISION);
                assert!(
                    self.snapshots
                        .values()
                        .any(|snapshot| snapshot.revision == revision),
                    "{name} comes before the snapshot of {revision}"
                );
                if object["metadata"]["annotations"]
                    .get(labels::POD_GROUP_NAME)
                    .is_some()
                {
                    let group = label(object, labels::GROUP_NAME);
                    assert!(
                        self.pod_groups.contains_key(&group),
                        "R75: {name} comes before its PodGroup"
                    );
                }
                let uid = self.uid();
                self.rendered.insert(name.clone(), object.clone());
                self.pods.insert(name.clone(), pod_of(object, uid));
            }
        }
    }

    fn apply_gang(&mut self, action: &Action) {
        match action {
            Action::CreatePodGroup { name, object } => {
                assert!(!self.pod_groups.contains_key(name), "{name} exists");
                let uid = self.uid();
                let view = PodGroupView {
                    name: name.clone(),
                    uid,
                    owner: owner(object),
                    group: label(object, labels::GROUP_NAME),
                    spec: object["spec"].clone(),
                    ..PodGroupView::default()
                };
                self.rendered.insert(format!("gang/{name}"), object.clone());
                self.pod_groups.insert(name.clone(), view);
            }
            Action::PatchPodGroup { name, patch } => {
                let gang = self.pod_groups.get_mut(name).unwrap();
                merge(&mut gang.spec, &patch["spec"]);
            }
            Action::DeletePodGroup { name, uid } => {
                self.pod_groups
                    .retain(|other, gang| other != name || gang.uid != *uid);
            }
            _ => {}
        }
    }
}

/// Applies a JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in members {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}

fn label(object: &Value, key: &str) -> String {
    object["metadata"]["labels"][key]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn owner(object: &Value) -> String {
    let owner = &object["metadata"]["ownerReferences"][0];
    assert_eq!(owner["controller"], true);
    owner["uid"].as_str().unwrap().to_owned()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

pub(crate) fn pod_of(object: &Value, uid: String) -> PodView {
    PodView {
        name: name(object),
        uid,
        owner: owner(object),
        group: label(object, labels::GROUP_NAME),
        role: label(object, labels::ROLE),
        role_id: label(object, labels::ROLE_ID),
        revision: label(object, labels::REVISION),
        role_hash: label(object, labels::ROLE_TEMPLATE_HASH),
        ..PodView::default()
    }
}

fn service_of(object: &Value, uid: String) -> ServiceView {
    ServiceView {
        name: name(object),
        uid,
        owner: owner(object),
        group: label(object, labels::GROUP_NAME),
        role: label(object, labels::ROLE),
        role_id: label(object, labels::ROLE_ID),
        is_terminating: false,
    }
}

fn snapshot_of(object: &Value, uid: String) -> SnapshotView {
    SnapshotView {
        name: name(object),
        uid,
        owner: owner(object),
        revision: label(object, labels::REVISION),
        number: object["revision"].as_i64().unwrap(),
        is_terminating: false,
        content: SnapshotContent::read(&object["data"]),
        role_replicas: BTreeMap::new(),
        role_hashes: object["metadata"]["annotations"][labels::ROLE_HASHES]
            .as_str()
            .map(|hashes| serde_json::from_str(hashes).unwrap())
            .unwrap_or_default(),
    }
}
