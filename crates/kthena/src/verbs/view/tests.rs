use jiff::{SignedDuration, Timestamp};
use kthena_api::model_serving::ModelServing;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Columns, Rollout, age, describe, rollout, table};

fn now() -> Timestamp {
    "2026-01-02T00:00:00Z".parse().unwrap()
}

fn serving(condition: &Value) -> ModelServing {
    serde_json::from_value(json!({
        "metadata": { "name": "llama", "namespace": "prod", "generation": 2, "creationTimestamp": "2026-01-01T23:00:00Z" },
        "spec": { "replicas": 4, "template": { "roles": [] } },
        "status": {
            "observedGeneration": 2, "replicas": 4, "availableReplicas": 3, "updatedReplicas": 2,
            "currentRevision": "old", "updateRevision": "new", "conditions": [condition],
            "roles": [{ "name": "prefill", "replicas": 4, "readyReplicas": 3, "updatedReplicas": 2 }],
        },
    }))
    .unwrap()
}

fn condition(kind: &str, message: &str) -> Value {
    json!({ "type": kind, "status": "True", "reason": "R", "message": message, "lastTransitionTime": "2026-01-01T23:59:00Z" })
}

const WAITING: &str = "2 of 4 groups updated, waiting for llama-2/prefill-0: ImagePullBackOff";

#[test]
fn a_table_shows_what_goes_on() {
    let servings = [serving(&condition("UpdateInProgress", WAITING))];
    assert_eq!(
        table(&servings, Columns::default(), now()),
        "NAME    REPLICAS   AVAILABLE   UPDATED   STATUS             AGE\n\
         llama   4/4        3           2         UpdateInProgress   60m\n"
    );
    let wide = table(
        &servings,
        Columns {
            has_namespace: true,
            is_wide: true,
        },
        now(),
    );
    assert!(wide.starts_with("NAMESPACE   NAME"), "{wide}");
    assert!(
        wide.contains("prefill 3/4") && wide.contains("ImagePullBackOff"),
        "{wide}"
    );
}

#[test]
fn a_description_names_roles_conditions_and_revisions() {
    let text = describe(
        &serving(&condition("UpdateInProgress", WAITING)),
        &[],
        &[],
        now(),
    );
    for part in [
        "Name:       llama",
        "4 wanted, 4 exist, 3 available, 2 updated",
        "old (update new)",
        "prefill",
        WAITING,
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[rstest]
#[case::going_on("UpdateInProgress", Rollout::Waiting(WAITING.to_owned()))]
#[case::stalled("Stalled", Rollout::Stuck(WAITING.to_owned()))]
#[case::paused("Paused", Rollout::Stuck("paused: 2 of 4 groups updated, 3 available".to_owned()))]
#[case::done("Available",
    Rollout::Done("modelserving \"llama\" rolled out: 2 of 4 groups updated, 3 available".to_owned()))]
fn a_rollout_is_over_when_the_status_says_so(#[case] kind: &str, #[case] expected: Rollout) {
    assert_eq!(rollout(&serving(&condition(kind, WAITING))), expected);
}

#[test]
fn a_status_of_an_older_spec_says_nothing() {
    let mut serving = serving(&condition("Available", ""));
    serving.metadata.generation = Some(3);
    assert!(matches!(rollout(&serving), Rollout::Waiting(_)));
}

#[rstest]
#[case(-5, "0s")]
#[case(119, "119s")]
#[case(120, "2m")]
#[case(7200, "2h")]
#[case(172_800, "2d")]
fn ages_are_short(#[case] seconds: i64, #[case] expected: &str) {
    let then = now() - SignedDuration::from_secs(seconds);
    assert_eq!(age(Some(then), now()), expected);
}
