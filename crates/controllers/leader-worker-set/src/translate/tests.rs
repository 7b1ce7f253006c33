use rstest::rstest;
use serde_json::{Value, json};

use super::translate;
use crate::testing::{merge, read, set, template};

fn spec_of(patch: &Value) -> Value {
    let mut set = set();
    merge(&mut set, patch);
    translate(&read(&set)).spec
}

#[test]
fn r87_a_plain_set_becomes_one_role_and_leaves_the_rest_to_defaults() {
    insta::assert_json_snapshot!(spec_of(&json!({})), @r#"
    {
      "plugins": [
        {
          "name": "lws-standard-labels",
          "type": "BuiltIn"
        }
      ],
      "replicas": 2,
      "template": {
        "roles": [
          {
            "entryTemplate": {
              "spec": {
                "containers": [
                  {
                    "image": "engine:1",
                    "name": "engine"
                  }
                ]
              }
            },
            "name": "default",
            "replicas": 1,
            "workerReplicas": 1,
            "workerTemplate": {
              "spec": {
                "containers": [
                  {
                    "image": "engine:1",
                    "name": "engine"
                  }
                ]
              }
            }
          }
        ]
      }
    }
    "#);
}

#[rstest]
#[case::absent(json!(null), 0)]
#[case::leader_alone(json!(1), 0)]
#[case::four(json!(4), 3)]
#[case::zero(json!(0), 0)]
#[case::negative(json!(-3), 0)]
fn r87_workers_are_the_size_without_the_leader(#[case] size: Value, #[case] workers: i32) {
    let spec = spec_of(&json!({ "spec": { "leaderWorkerTemplate": { "size": size } } }));

    let role = &spec["template"]["roles"][0];
    assert_eq!(role["workerReplicas"], workers);
    assert!(role["workerTemplate"].is_object(), "always set");
}

#[test]
fn r87_replicas_count_one_if_absent() {
    let spec = spec_of(&json!({ "spec": { "replicas": null } }));
    assert_eq!(spec["replicas"], 1);
}

#[test]
fn r87_templates_keep_their_labels_annotations_and_spec() {
    let leader = json!({
        "metadata": { "creationTimestamp": null, "labels": { "app": "x" }, "annotations": { "note": "y" } },
        "spec": { "containers": [{ "name": "lead", "image": "lead:1" }], "hostNetwork": true },
    });
    let spec =
        spec_of(&json!({ "spec": { "leaderWorkerTemplate": { "leaderTemplate": leader } } }));

    let role = &spec["template"]["roles"][0];
    let kept = json!({ "labels": { "app": "x" }, "annotations": { "note": "y" } });
    assert_eq!(role["entryTemplate"]["metadata"], kept);
    assert_eq!(role["entryTemplate"]["spec"], leader["spec"]);
    assert_eq!(role["workerTemplate"], template("engine:1"));
}

#[rstest]
#[case::recreate("RecreateGroupOnPodRestart", json!(null))]
#[case::none("None", json!("None"))]
#[case::old_name_of_none("Default", json!("None"))]
fn restart_policies(#[case] policy: &str, #[case] expected: Value) {
    let spec = spec_of(&json!({ "spec": { "leaderWorkerTemplate": { "restartPolicy": policy } } }));
    assert_eq!(spec["recoveryPolicy"], expected);
}

#[rstest]
#[case::defaults(json!({ "maxUnavailable": 1, "maxSurge": 0, "partition": 0 }), json!(null))]
#[case::empty(json!({}), json!(null))]
#[case::unavailable(json!({ "maxUnavailable": "30%" }), json!({ "maxUnavailable": "30%" }))]
#[case::surge(json!({ "maxUnavailable": 0, "maxSurge": 2 }), json!({ "maxUnavailable": 0, "maxSurge": 2 }))]
#[case::partition(json!({ "partition": 3, "maxUnavailable": 1 }), json!({ "partition": 3 }))]
fn limits_of_a_rollout(#[case] limits: Value, #[case] expected: Value) {
    let strategy = json!({ "type": "RollingUpdate", "rollingUpdateConfiguration": limits });
    let spec = spec_of(&json!({ "spec": { "rolloutStrategy": strategy } }));

    let made = &spec["rolloutStrategy"];
    assert_eq!(made["rollingUpdateConfiguration"], expected);
    assert_eq!(made.is_null(), expected.is_null());
}

#[rstest]
#[case::unsaid(json!(null), json!(null), 2, json!(null))]
#[case::both(json!("mine"), json!("mine"), 2, json!("mine"))]
#[case::no_workers(json!("mine"), json!("other"), 1, json!("mine"))]
#[case::mixed(json!("mine"), json!("other"), 2, json!(null))]
#[case::leader_only(json!("mine"), json!(null), 2, json!(null))]
fn schedulers(
    #[case] leader: Value,
    #[case] worker: Value,
    #[case] size: i32,
    #[case] expected: Value,
) {
    let mut leader_template = template("lead:1");
    merge(
        &mut leader_template["spec"],
        &json!({ "schedulerName": leader }),
    );
    let spec = spec_of(&json!({ "spec": { "leaderWorkerTemplate": {
        "size": size,
        "leaderTemplate": leader_template,
        "workerTemplate": { "spec": { "schedulerName": worker } },
    } } }));
    assert_eq!(spec["schedulerName"], expected);
}

#[test]
fn what_no_pod_template_has_is_left_out_and_named() {
    let mut set = set();
    let odd = json!({ "spec": { "containers": [{ "name": "engine", "image": "lead:1", "turbo": true }] } });
    set["spec"]["leaderWorkerTemplate"]["leaderTemplate"] = odd;
    set["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["warp"] = json!(9);

    let translation = translate(&read(&set));

    assert_eq!(
        translation.dropped,
        [
            "spec.leaderWorkerTemplate.leaderTemplate.spec.containers[0].turbo",
            "spec.leaderWorkerTemplate.workerTemplate.spec.warp",
        ]
    );
    let role = &translation.spec["template"]["roles"][0];
    assert_eq!(role["entryTemplate"], template("lead:1"));
    assert_eq!(role["workerTemplate"], template("engine:1"));
}
