//! A server in memory for one set: carries plans out as an API server with our definitions would.

use std::sync::Arc;

use jiff::Timestamp;
use kthena_api::crd;
use kthena_api::defaults;
use kthena_api::model_serving::ModelServing;
use serde_json::{Map, Value, json};

use crate::object::LeaderWorkerSet;
use crate::plan::{Plan, ServingWrite, plan};
use crate::view::SetView;

/// Uid of the set under test.
pub(crate) const UID: &str = "uid-of-set";

/// A set named `sample` in `default`, two pods to a group.
pub(crate) fn set() -> Value {
    json!({
        "metadata": { "name": "sample", "namespace": "default", "uid": UID, "generation": 1 },
        "spec": {
            "replicas": 2,
            "leaderWorkerTemplate": { "size": 2, "workerTemplate": template("engine:1") },
        },
    })
}

/// A pod of one container.
pub(crate) fn template(image: &str) -> Value {
    json!({ "spec": { "containers": [{ "name": "engine", "image": image }] } })
}

/// Reads a set.
pub(crate) fn read(set: &Value) -> LeaderWorkerSet {
    serde_json::from_value(set.clone()).unwrap()
}

/// Applies a JSON merge patch.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name.as_str()], value);
        }
    }
}

/// The set, its `ModelServing`, and the time.
#[derive(Debug, Clone)]
pub(crate) struct Sim {
    pub(crate) set: Value,
    pub(crate) serving: Option<Value>,
    pub(crate) rival: Option<String>,
    pub(crate) unmoved: Option<i64>,
    pub(crate) now: Timestamp,
    version: u32,
}

impl Sim {
    pub(crate) fn new(set: Value) -> Self {
        Self {
            set,
            serving: None,
            rival: None,
            unmoved: None,
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            version: 0,
        }
    }

    /// The set with its `ModelServing` as it should be.
    pub(crate) fn settled(set: Value) -> Self {
        let mut sim = Self::new(set);
        sim.settle();
        sim
    }

    pub(crate) fn view(&self) -> SetView {
        SetView {
            set: Arc::new(read(&self.set)),
            serving: self
                .serving
                .clone()
                .map(|serving| Arc::new(serde_json::from_value::<ModelServing>(serving).unwrap())),
            rival: self.rival.clone(),
            unmoved: self.unmoved,
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&self.view(), self.now)
    }

    /// One pass: plan and carry out.
    pub(crate) fn step(&mut self) -> Plan {
        let plan = self.plan();
        match &plan.write {
            Some(ServingWrite::Create(object)) => {
                assert!(self.serving.is_none(), "created twice");
                let mut object = object.clone();
                object["metadata"]["uid"] = json!(format!("uid-of-serving-{}", self.version));
                self.store(object);
            }
            Some(ServingWrite::Patch(patch)) => {
                let mut object = self.serving.clone().unwrap();
                assert_eq!(patch["metadata"]["uid"], object["metadata"]["uid"]);
                merge(&mut object, patch);
                self.store(object);
            }
            Some(ServingWrite::Delete { uid }) => {
                let serving = self.serving.take().unwrap();
                assert_eq!(serving["metadata"]["uid"], **uid);
            }
            None => {}
        }
        if let Some(status) = &plan.status {
            self.set["status"] = serde_json::to_value(status).unwrap();
        }
        plan
    }

    /// Passes until nothing is left to do; two are enough for anything.
    pub(crate) fn settle(&mut self) {
        for _ in 0..2 {
            if self.step().is_idle() {
                return;
            }
        }
        let plan = self.plan();
        assert!(plan.is_idle(), "does not settle: {plan:#?}");
    }

    /// What the controller of `ModelServing`s reports.
    pub(crate) fn serve(&mut self, status: Value) {
        let mut serving = self.serving.clone().unwrap();
        serving["status"] = status;
        self.store(serving);
    }

    /// Changes the set as a user would.
    pub(crate) fn edit(&mut self, patch: &Value) {
        merge(&mut self.set, patch);
        let generation = self.set["metadata"]["generation"].as_i64().unwrap();
        self.set["metadata"]["generation"] = json!(generation + 1);
    }

    /// Stores an object as a server does: defaults filled in, unknown members dropped, a new version if it is news.
    fn store(&mut self, mut object: Value) {
        defaults::fill("ModelServing", &mut object);
        crd::schema("ModelServing").unwrap().prune(&mut object);
        if self.serving.as_ref() != Some(&object) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            let was = self.serving.as_ref().map(|serving| &serving["spec"]);
            if was != Some(&object["spec"]) {
                object["metadata"]["generation"] = json!(self.version);
            }
            self.serving = Some(object);
        }
    }
}
