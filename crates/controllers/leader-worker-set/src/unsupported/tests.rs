use rstest::rstest;
use serde_json::{Value, json};

use super::{Unsupported, find};
use crate::testing::{merge, read, set};
use crate::translate::translate;

fn fields(patch: &Value) -> Vec<String> {
    let mut set = set();
    merge(&mut set, patch);
    let set = read(&set);
    let found = find(&set, &translate(&set));
    found
        .into_iter()
        .map(|one: Unsupported| one.field)
        .collect()
}

#[rstest]
#[case::plain(json!({}))]
#[case::explicit_defaults(json!({ "spec": {
    "startupPolicy": "LeaderCreated",
    "networkConfig": { "subdomainPolicy": "Shared" },
    "rolloutStrategy": {
        "type": "RollingUpdate",
        "rollingUpdateConfiguration": { "maxUnavailable": 1, "maxSurge": 0, "partition": 0 },
    },
    "leaderWorkerTemplate": { "restartPolicy": "RecreateGroupOnPodRestart" },
} }))]
#[case::all_that_is_served(json!({ "metadata": { "annotations": { "note": "x" } }, "spec": {
    "rolloutStrategy": { "rollingUpdateConfiguration": { "maxUnavailable": "50%", "maxSurge": 1, "partition": 2 } },
    "leaderWorkerTemplate": { "restartPolicy": "None" },
} }))]
#[case::a_creation_time_as_go_writes_it(json!({ "spec": { "leaderWorkerTemplate": { "leaderTemplate": {
    "metadata": { "creationTimestamp": null, "labels": {} },
} } } }))]
fn nothing_is_missing(#[case] patch: Value) {
    assert_eq!(fields(&patch), Vec::<String>::new());
}

#[rstest]
#[case::startup(json!({ "spec": { "startupPolicy": "LeaderReady" } }), "spec.startupPolicy")]
#[case::subdomains(
    json!({ "spec": { "networkConfig": { "subdomainPolicy": "UniquePerReplica" } } }),
    "spec.networkConfig.subdomainPolicy"
)]
#[case::sub_groups(
    json!({ "spec": { "leaderWorkerTemplate": { "subGroupPolicy": { "subGroupSize": 2 } } } }),
    "spec.leaderWorkerTemplate.subGroupPolicy"
)]
#[case::exclusive_topology(
    json!({ "metadata": { "annotations": { "leaderworkerset.sigs.k8s.io/exclusive-topology": "rack" } } }),
    "metadata.annotations[leaderworkerset.sigs.k8s.io/exclusive-topology]"
)]
#[case::queue(
    json!({ "metadata": { "annotations": { "scheduling.volcano.sh/queue-name": "gold" } } }),
    "metadata.annotations[scheduling.volcano.sh/queue-name]"
)]
#[case::finalizers(
    json!({ "spec": { "leaderWorkerTemplate": { "workerTemplate": { "metadata": { "finalizers": ["x/y"] } } } } }),
    "spec.leaderWorkerTemplate.workerTemplate.metadata.finalizers"
)]
#[case::a_later_restart_policy(
    json!({ "spec": { "leaderWorkerTemplate": { "restartPolicy": "RecreateGroupAfterStart" } } }),
    "spec.leaderWorkerTemplate.restartPolicy"
)]
#[case::a_later_member(
    json!({ "spec": { "leaderWorkerTemplate": { "volumeClaimTemplates": [{}] } } }),
    "spec.leaderWorkerTemplate.volumeClaimTemplates"
)]
#[case::a_later_member_of_the_spec(json!({ "spec": { "mood": "good" } }), "spec.mood")]
#[case::a_later_rollout(
    json!({ "spec": { "rolloutStrategy": { "type": "BlueGreen" } } }),
    "spec.rolloutStrategy.type"
)]
fn a_wish_without_a_counterpart_is_named(#[case] patch: Value, #[case] field: &str) {
    assert_eq!(fields(&patch), [field]);
}

#[test]
fn different_schedulers_in_one_group() {
    let with = |name| json!({ "spec": { "containers": [], "schedulerName": name } });
    let patch = json!({ "spec": { "leaderWorkerTemplate": {
        "leaderTemplate": with("mine"), "workerTemplate": with("other"),
    } } });
    assert_eq!(
        fields(&patch),
        ["spec.leaderWorkerTemplate.*.spec.schedulerName"]
    );
}
