use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{ReplicaSetPlan, ReplicaSetView, plan};

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn set(replicas: i32, min_ready: i32) -> ReplicaSet {
    typed(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "set-uid", "generation": 3},
        "spec": {
            "replicas": replicas, "minReadySeconds": min_ready,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "x": "y"}}, "spec": {"containers": [{"name": "c"}]}},
        },
    }))
}

/// A pod as a test needs it.
#[derive(Debug, Clone)]
struct PodFacts {
    name: String,
    owner: Option<&'static str>,
    label: &'static str,
    phase: &'static str,
    ready: bool,
    ready_at: &'static str,
    node: bool,
    deleting: bool,
    cost: i32,
}

impl PodFacts {
    fn ready(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            owner: Some("set-uid"),
            label: "web",
            phase: "Running",
            ready: true,
            ready_at: "2026-01-01T00:00:00Z",
            node: true,
            deleting: false,
            cost: 0,
        }
    }

    fn pod(&self) -> Arc<Pod> {
        let owners = self.owner.map(|uid| {
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": true}])
        });
        Arc::new(typed(json!({
            "metadata": {
                "name": self.name, "namespace": "ns", "uid": format!("uid-{}", self.name),
                "labels": {"app": self.label}, "ownerReferences": owners,
                "deletionTimestamp": self.deleting.then_some("2026-01-01T00:00:00Z"),
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": self.cost.to_string()},
            },
            "spec": {"nodeName": self.node.then_some("n"), "containers": []},
            "status": {"phase": self.phase, "conditions": [
                {"type": "Ready", "status": if self.ready {"True"} else {"False"}, "lastTransitionTime": self.ready_at},
            ]},
        })))
    }
}

fn planned(set: ReplicaSet, pods: &[PodFacts]) -> ReplicaSetPlan {
    let pods = pods.iter().map(PodFacts::pod).collect();
    plan(
        &ReplicaSetView {
            set: Arc::new(set),
            pods,
        },
        now(),
    )
}

#[test]
fn missing_pods_are_made_from_the_template() {
    let plan = planned(set(2, 0), &[PodFacts::ready("a")]);

    assert_eq!(plan.create.len(), 1);
    let made = &plan.create[0];
    let labels = BTreeMap::from([
        ("app".to_owned(), "web".to_owned()),
        ("x".to_owned(), "y".to_owned()),
    ]);
    assert_eq!(made.metadata.labels, Some(labels));
    assert!(made.metadata.name.as_ref().unwrap().starts_with("web-"));
    assert_eq!(
        made.metadata.owner_references.as_ref().unwrap()[0].uid,
        "set-uid"
    );
    assert!(plan.delete.is_empty());
}

#[rstest]
#[case::unbound_first(PodFacts { node: false, ..PodFacts::ready("v") })]
#[case::not_ready_before_ready(PodFacts { ready: false, ..PodFacts::ready("v") })]
#[case::pending_before_running(PodFacts { phase: "Pending", ..PodFacts::ready("v") })]
#[case::cheap_before_dear(PodFacts { cost: -5, ..PodFacts::ready("v") })]
#[case::young_before_old(PodFacts { ready_at: "2026-01-01T00:30:00Z", ..PodFacts::ready("v") })]
fn the_least_valuable_pod_goes(#[case] victim: PodFacts) {
    let pods = [PodFacts::ready("a"), victim, PodFacts::ready("z")];

    let plan = planned(set(2, 0), &pods);

    assert_eq!(plan.delete, [("v".to_owned(), "uid-v".to_owned())]);
}

#[test]
fn a_matching_orphan_is_adopted_instead_of_a_new_pod() {
    let orphan = PodFacts {
        owner: None,
        ..PodFacts::ready("o")
    };

    let plan = planned(set(1, 0), &[orphan]);

    assert_eq!(plan.adopt, [("o".to_owned(), "uid-o".to_owned())]);
    assert!(plan.create.is_empty());
}

#[test]
fn a_pod_with_other_labels_is_released_and_replaced() {
    let stray = PodFacts {
        label: "debug",
        ..PodFacts::ready("s")
    };

    let plan = planned(set(1, 0), &[stray]);

    assert_eq!(plan.release, [("s".to_owned(), "uid-s".to_owned())]);
    assert_eq!(plan.create.len(), 1);
}

#[rstest]
#[case::no_pause(0, "2026-01-01T00:59:55Z", Some(1), false)]
#[case::long_enough(5, "2026-01-01T00:59:55Z", Some(1), false)]
#[case::too_short(6, "2026-01-01T00:59:55Z", Some(0), true)]
fn availability_waits_for_min_ready_seconds(
    #[case] min_ready: i32,
    #[case] ready_at: &'static str,
    #[case] available: Option<i32>,
    #[case] again: bool,
) {
    let plan = planned(
        set(1, min_ready),
        &[PodFacts {
            ready_at,
            ..PodFacts::ready("a")
        }],
    );

    let status = plan.status.unwrap();
    assert_eq!(status.available_replicas, available);
    assert_eq!((status.replicas, status.ready_replicas), (1, Some(1)));
    assert_eq!(plan.again_in.is_some(), again);
}

fn facts() -> impl Strategy<Value = PodFacts> {
    let owner = prop_oneof![4 => Just(Some("set-uid")), 1 => Just(None), 1 => Just(Some("other"))];
    let phase = prop_oneof![Just("Running"), Just("Pending"), Just("Failed")];
    (owner, phase, any::<[bool; 3]>(), -1..2).prop_map(
        |(owner, phase, [ready, node, deleting], cost)| PodFacts {
            owner,
            phase,
            ready,
            node,
            deleting,
            cost,
            ..PodFacts::ready("")
        },
    )
}

proptest! {
    /// Carrying a plan out again and again ends, and then the number of pods is as wanted.
    #[test]
    fn carrying_plans_out_reaches_the_wanted_number(
        replicas in 0..8,
        mut pods in prop::collection::vec(facts(), 0..10),
    ) {
        for (number, pod) in pods.iter_mut().enumerate() {
            pod.name = format!("p{number}");
        }
        for _ in 0..4 {
            let plan = planned(set(replicas, 0), &pods);
            prop_assert!(plan.create.is_empty() || plan.delete.is_empty());
            for (name, _) in &plan.adopt {
                pods.iter_mut().find(|pod| pod.name == *name).unwrap().owner = Some("set-uid");
            }
            pods.retain(|pod| plan.delete.iter().all(|(name, _)| *name != pod.name));
            for made in &plan.create {
                let name = made.metadata.name.clone().unwrap();
                prop_assert!(pods.iter().all(|pod| pod.name != name));
                pods.push(PodFacts { name, ready: false, phase: "Pending", ..PodFacts::ready("") });
            }
        }
        let settled = planned(set(replicas, 0), &pods);
        prop_assert!(settled.create.is_empty() && settled.delete.is_empty() && settled.adopt.is_empty());
        let active = pods.iter().filter(|pod| {
            pod.owner == Some("set-uid") && pod.phase != "Failed" && !pod.deleting
        });
        prop_assert_eq!(active.count(), usize::try_from(replicas).unwrap());
    }

    /// The order in which pods are seen changes nothing.
    #[test]
    fn the_plan_ignores_the_order_of_pods(replicas in 0..8, mut pods in prop::collection::vec(facts(), 0..8)) {
        for (number, pod) in pods.iter_mut().enumerate() {
            pod.name = format!("p{number}");
        }
        let first = planned(set(replicas, 0), &pods);
        pods.reverse();
        let second = planned(set(replicas, 0), &pods);
        prop_assert_eq!(first.delete, second.delete);
        prop_assert_eq!(first.create, second.create);
    }
}
