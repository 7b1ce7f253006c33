use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{Ledger, Promise};

const PROMISE: Promise = Promise {
    groups: 2,
    pods: 2,
    unavailable: 1,
};

/// Pod `index` of group `s-<group>`.
fn pod(group: usize, index: usize, revision: &str, is_ready: bool) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("s-{group}-a-0-{index}"), "uid": format!("{group}-{index}-{revision}"),
            "labels": {
                "modelserving.volcano.sh/name": "s",
                "modelserving.volcano.sh/group-name": format!("s-{group}"),
                "modelserving.volcano.sh/revision": revision,
            },
        },
        "status": { "conditions": [{ "type": "Ready", "status": if is_ready { "True" } else { "False" } }] },
    }))
    .unwrap()
}

fn leaving(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    pod
}

/// Two groups of two pods, all ready.
fn complete() -> Ledger {
    let mut ledger = Ledger::new(PROMISE);
    for (group, index) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        ledger.applied(&pod(group, index, "old", true));
    }
    ledger
}

#[test]
fn a_group_at_a_time_keeps_every_promise() {
    let mut ledger = complete();
    for group in [1, 0] {
        for index in [0, 1] {
            ledger.applied(&leaving(pod(group, index, "old", true)));
            ledger.deleted(&pod(group, index, "old", true));
        }
        for index in [0, 1] {
            ledger.applied(&pod(group, index, "new", false));
            ledger.applied(&pod(group, index, "new", true));
        }
    }

    assert_eq!(ledger.faults(), [] as [String; 0]);
    assert_eq!((ledger.least_available(), ledger.pods_seen()), (1, 8));
}

#[test]
fn two_groups_at_once_are_one_too_many() {
    let mut ledger = complete();
    ledger.applied(&leaving(pod(0, 0, "old", true)));
    ledger.applied(&leaving(pod(1, 0, "old", true)));

    assert_eq!(ledger.faults(), ["s has only 0 groups available"]);
}

#[test]
fn a_new_pod_beside_an_old_one_is_a_mixed_group() {
    let mut ledger = complete();
    ledger.applied(&leaving(pod(0, 0, "old", true)));
    ledger.applied(&pod(0, 0, "new", false));

    assert_eq!(
        ledger.faults(),
        [r#"group s-0 mixes revisions {"new", "old"}"#]
    );
}

#[test]
fn a_pod_too_many_is_told() {
    let mut ledger = complete();
    ledger.applied(&pod(0, 2, "old", true));

    assert_eq!(ledger.faults()[0], "group s-0 has 3 pods");
}

#[test]
fn what_is_not_complete_yet_promises_nothing() {
    let mut ledger = Ledger::new(PROMISE);
    ledger.applied(&pod(0, 0, "old", true));

    assert_eq!(ledger.faults(), [] as [String; 0]);
}

#[test]
fn a_list_tells_of_a_moment_and_not_of_the_way_there() {
    let mut ledger = complete();
    // Group 1 was replaced meanwhile, and is ready again.
    let list = [
        pod(1, 0, "new", true),
        pod(1, 1, "new", true),
        pod(0, 0, "old", true),
        pod(0, 1, "old", true),
    ];
    ledger.listed(&list);
    assert_eq!(ledger.faults(), [] as [String; 0]);
    assert_eq!((ledger.least_available(), ledger.pods_seen()), (2, 6));

    let mixed = [pod(0, 0, "old", true), pod(0, 1, "new", true)];
    ledger.listed(&mixed);
    assert_eq!(
        ledger.faults(),
        [r#"group s-0 mixes revisions {"new", "old"}"#]
    );
    ledger.listed(&[]);
    assert_eq!(ledger.faults()[1..], ["s has only 0 groups available"]);
}
