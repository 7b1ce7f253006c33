use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{DeploymentAction, DeploymentPlan, DeploymentView, plan};

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn deployment(replicas: i32, image: &str, more: &Value) -> Arc<Deployment> {
    let mut spec = json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}},
    });
    spec.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Arc::new(typed(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "d", "generation": 2}, "spec": spec,
    })))
}

/// The set that `deployment` makes, as the server and the set's controller would show it.
fn shown(
    set: &ReplicaSet,
    replicas: i32,
    present: i32,
    available: i32,
    created: &str,
) -> Arc<ReplicaSet> {
    let mut set = serde_json::to_value(set).unwrap();
    set["metadata"]["uid"] = set["metadata"]["name"].clone();
    set["metadata"]["generation"] = json!(1);
    set["metadata"]["creationTimestamp"] = json!(created);
    set["spec"]["replicas"] = json!(replicas);
    set["status"] = json!({
        "replicas": present, "readyReplicas": available, "availableReplicas": available, "observedGeneration": 1,
    });
    Arc::new(typed(set))
}

fn planned(deployment: &Arc<Deployment>, sets: &[Arc<ReplicaSet>]) -> DeploymentPlan {
    plan(
        &DeploymentView {
            deployment: Arc::clone(deployment),
            sets: sets.to_vec(),
            pods: vec![],
        },
        now(),
    )
}

fn made(deployment: &Arc<Deployment>, sets: &[Arc<ReplicaSet>]) -> ReplicaSet {
    let create = planned(deployment, sets)
        .actions
        .into_iter()
        .find_map(|action| match action {
            DeploymentAction::Create(set) => Some(*set),
            _ => None,
        });
    create.unwrap()
}

fn scales(plan: &DeploymentPlan) -> Vec<(String, i32)> {
    let scales = plan.actions.iter().filter_map(|action| match action {
        DeploymentAction::Scale { set, replicas } => Some((set.clone(), *replicas)),
        _ => None,
    });
    scales.collect()
}

fn name(set: &ReplicaSet) -> String {
    set.metadata.name.clone().unwrap()
}

#[test]
fn the_first_set_carries_hash_revision_and_owner() {
    let set = made(&deployment(3, "a", &json!({})), &[]);

    let spec = set.spec.as_ref().unwrap();
    assert_eq!(spec.replicas, Some(3));
    let hash = &set.metadata.labels.as_ref().unwrap()["pod-template-hash"];
    assert_eq!(name(&set), format!("web-{hash}"));
    assert_eq!(
        &spec.selector.match_labels.as_ref().unwrap()["pod-template-hash"],
        hash
    );
    assert_eq!(
        set.metadata.annotations.as_ref().unwrap()["deployment.kubernetes.io/revision"],
        "1"
    );
    assert_eq!(set.metadata.owner_references.as_ref().unwrap()[0].uid, "d");
}

#[rstest]
#[case::quarter_of_four(json!({}), 4, 1)]
#[case::surge_of_two(json!({"strategy": {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}}), 4, 2)]
#[case::no_surge(json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}), 4, 0)]
#[case::surge_in_percent_rounds_up(json!({"strategy": {"rollingUpdate": {"maxSurge": "30%"}}}), 4, 2)]
fn a_new_template_starts_within_the_surge(
    #[case] more: Value,
    #[case] replicas: i32,
    #[case] expected: i32,
) {
    let old = shown(
        &made(&deployment(replicas, "a", &more), &[]),
        replicas,
        replicas,
        replicas,
        "2026-01-01T00:00:00Z",
    );

    let new = made(&deployment(replicas, "b", &more), &[Arc::clone(&old)]);

    assert_eq!(new.spec.as_ref().unwrap().replicas, Some(expected));
    assert_eq!(
        new.metadata.annotations.as_ref().unwrap()["deployment.kubernetes.io/revision"],
        "2"
    );
}

#[test]
fn broken_old_pods_go_before_working_ones() {
    let first = deployment(4, "a", &json!({}));
    let old = shown(&made(&first, &[]), 4, 4, 3, "2026-01-01T00:00:00Z");
    let second = deployment(4, "b", &json!({}));
    let new = made(&second, &[Arc::clone(&old)]);
    let new = shown(&new, 1, 1, 0, "2026-01-01T00:10:00Z");

    let plan = planned(&second, &[old.clone(), new]);

    assert_eq!(scales(&plan), [(name(&old), 3)]);
}

#[test]
fn recreate_takes_all_down_first() {
    let recreate = json!({"strategy": {"type": "Recreate"}});
    let old = shown(
        &made(&deployment(2, "a", &recreate), &[]),
        2,
        2,
        2,
        "2026-01-01T00:00:00Z",
    );
    let second = deployment(2, "b", &recreate);

    let plan = planned(&second, &[Arc::clone(&old)]);
    assert_eq!(
        plan.actions,
        [DeploymentAction::Scale {
            set: name(&old),
            replicas: 0
        }]
    );

    let empty = shown(&old, 0, 0, 0, "2026-01-01T00:00:00Z");
    assert_eq!(made(&second, &[empty]).spec.unwrap().replicas, Some(2));
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let recreate = json!({"strategy": {"type": "Recreate"}});
    let old = shown(
        &made(&deployment(2, "a", &recreate), &[]),
        0,
        0,
        0,
        "2026-01-01T00:00:00Z",
    );
    let leaving = typed(json!({
        "metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name(&old), "uid": name(&old), "controller": true},
        ]},
        "status": {"phase": "Running"},
    }));
    let view = DeploymentView {
        deployment: deployment(2, "b", &recreate),
        sets: vec![old],
        pods: vec![Arc::new(leaving)],
    };

    assert_eq!(plan(&view, now()).actions, []);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let old = shown(
        &made(&deployment(2, "a", &json!({})), &[]),
        2,
        2,
        2,
        "2026-01-01T00:00:00Z",
    );
    let paused = deployment(5, "b", &json!({"paused": true}));

    let plan = planned(&paused, &[Arc::clone(&old)]);

    assert_eq!(
        plan.actions,
        [DeploymentAction::Scale {
            set: name(&old),
            replicas: 5
        }]
    );
}

#[test]
fn going_back_to_an_old_template_uses_its_set_again() {
    let first = deployment(2, "a", &json!({}));
    let a = shown(&made(&first, &[]), 0, 0, 0, "2026-01-01T00:00:00Z");
    let b = made(&deployment(2, "b", &json!({})), &[Arc::clone(&a)]);
    let b = shown(&b, 2, 2, 2, "2026-01-01T00:10:00Z");

    let plan = planned(&first, &[Arc::clone(&a), b]);

    assert!(plan.actions.contains(&DeploymentAction::MarkSet {
        set: name(&a),
        revision: 3
    }));
    assert_eq!(scales(&plan), [(name(&a), 1)]);
}

#[test]
fn empty_sets_beyond_the_history_are_deleted_once_all_is_done() {
    let mut sets: Vec<Arc<ReplicaSet>> = Vec::new();
    for (number, image) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let set = made(&deployment(1, image, &json!({})), &sets);
        sets.push(shown(
            &set,
            0,
            0,
            0,
            &format!("2026-01-01T00:0{number}:00Z"),
        ));
    }
    let limited = deployment(1, "d", &json!({"revisionHistoryLimit": 2}));
    sets[3] = shown(&sets[3], 1, 1, 1, "2026-01-01T00:03:00Z");
    let mut marked = (*limited).clone();
    marked.metadata.annotations = Some(
        [(
            "deployment.kubernetes.io/revision".to_owned(),
            "4".to_owned(),
        )]
        .into(),
    );

    let plan = planned(&Arc::new(marked), &sets);

    assert_eq!(
        plan.actions,
        [DeploymentAction::Delete {
            set: name(&sets[0]),
            uid: name(&sets[0])
        }]
    );
}

#[test]
fn a_rollout_that_does_not_move_times_out() {
    let first = deployment(1, "a", &json!({"progressDeadlineSeconds": 60}));
    let mut stuck = (*first).clone();
    let set = shown(&made(&first, &[]), 1, 1, 0, "2026-01-01T00:00:00Z");
    let moving = planned(&first, &[Arc::clone(&set)]);
    assert_eq!(moving.again_in, Some(std::time::Duration::from_mins(1)));
    stuck.status = moving.status;

    let later = "2026-01-01T01:01:01Z".parse().unwrap();
    let view = DeploymentView {
        deployment: Arc::new(stuck),
        sets: vec![set],
        pods: vec![],
    };
    let status = plan(&view, later).status.unwrap();

    let reasons: Vec<_> = status
        .conditions
        .unwrap()
        .into_iter()
        .map(|one| (one.status, one.reason.unwrap()))
        .collect();
    assert!(
        reasons.contains(&("False".to_owned(), "ProgressDeadlineExceeded".to_owned())),
        "{reasons:?}"
    );
}

proptest! {
    /// A rollout over any limits and any rhythm of pods ends, never exceeds the ceiling and never takes an
    /// available pod away below the floor.
    #[test]
    fn a_rollout_ends_within_its_limits(
        replicas in 1..12_i32,
        surge in 0..4_i32,
        unavailable in 0..4_i32,
        rhythm in prop::collection::vec(any::<bool>(), 20..40),
    ) {
        let strategy = json!({"strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
        let first = deployment(replicas, "a", &strategy);
        let second = deployment(replicas, "b", &strategy);
        let floor = replicas - if surge == 0 && unavailable == 0 { 1 } else { unavailable.min(replicas) };
        let old = made(&first, &[]);
        // Size and available pods of the old and the new set.
        let (mut old_size, mut new_size, mut new_up) = (replicas, None::<i32>, 0);
        let mut new_set = None;
        // Every pod that is wanted comes up after the rhythm is over.
        for ready in rhythm.into_iter().chain(std::iter::repeat_n(true, 60)) {
            let mut sets = vec![shown(&old, old_size, old_size, old_size, "2026-01-01T00:00:00Z")];
            if let (Some(set), Some(size)) = (&new_set, new_size) {
                sets.push(shown(set, size, size, new_up, "2026-01-01T00:10:00Z"));
            }
            for action in planned(&second, &sets).actions {
                match action {
                    DeploymentAction::Create(set) => {
                        new_size = set.spec.as_ref().unwrap().replicas;
                        new_set = Some(*set);
                    }
                    DeploymentAction::Scale { set, replicas } if set == name(&old) => old_size = replicas,
                    DeploymentAction::Scale { replicas, .. } => new_size = Some(replicas),
                    _ => {}
                }
            }
            prop_assert!(old_size + new_size.unwrap_or(0) <= replicas + surge);
            prop_assert!(old_size + new_up >= floor, "{} old, {} new, floor {}", old_size, new_up, floor);
            new_up = (new_up + i32::from(ready)).min(new_size.unwrap_or(0));
        }
        prop_assert_eq!((old_size, new_size), (0, Some(replicas)));
    }
}
