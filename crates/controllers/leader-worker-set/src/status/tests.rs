use rstest::rstest;
use serde_json::{Value, json};

use crate::testing::{Sim, set};

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "Because", "message": message,
        "lastTransitionTime": "2027-01-01T00:00:00Z",
    })
}

/// A `ModelServing` half way through an update.
fn halfway(sim: &Sim) -> Value {
    json!({
        "observedGeneration": sim.serving.as_ref().unwrap()["metadata"]["generation"],
        "replicas": 2, "availableReplicas": 1, "updatedReplicas": 1,
        "conditions": [
            condition("Available", "False", "1 of 2"),
            condition("Progressing", "False", ""),
            condition("UpdateInProgress", "True", "waiting for sample-1/default-0: ImagePullBackOff"),
            condition("Stalled", "True", "no progress for 60 s"),
        ],
    })
}

fn told<'a>(sim: &'a Sim, kind: &str) -> &'a Value {
    let conditions = sim.set["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|one| one["type"] == kind);
    found.unwrap_or(&Value::Null)
}

#[test]
fn r88_counts_and_conditions_are_those_of_the_model_serving() {
    let mut sim = Sim::settled(set());
    let status = halfway(&sim);
    sim.serve(status);
    sim.settle();

    let status = &sim.set["status"];
    let counts = ["replicas", "readyReplicas", "updatedReplicas"].map(|name| status[name].clone());
    assert_eq!(counts, [json!(2), json!(1), json!(1)]);
    assert_eq!(
        status["hpaPodSelector"],
        "leaderworkerset.sigs.k8s.io/name=sample,leaderworkerset.sigs.k8s.io/worker-index=0"
    );
    assert_eq!(
        told(&sim, "UpdateInProgress")["message"],
        "waiting for sample-1/default-0: ImagePullBackOff"
    );
    assert_eq!(told(&sim, "Stalled")["status"], "True");
    assert_eq!(
        told(&sim, "Available")["observedGeneration"],
        1,
        "the set's own"
    );
}

#[test]
fn conditions_keep_the_generation_they_were_judged_by_until_the_model_serving_has_caught_up() {
    let mut sim = Sim::settled(set());
    let status = halfway(&sim);
    sim.serve(status);
    sim.settle();
    sim.edit(&json!({ "spec": { "replicas": 3 } }));
    sim.settle();
    assert_eq!(told(&sim, "Available")["observedGeneration"], 1);

    let status = halfway(&sim);
    sim.serve(status);
    sim.settle();

    assert_eq!(told(&sim, "Available")["observedGeneration"], 2);
}

#[test]
fn r88_what_others_write_into_the_status_stays() {
    let mut sim = Sim::settled(set());
    sim.set["status"]["color"] = json!("blue");
    let conditions = sim.set["status"]["conditions"].as_array_mut().unwrap();
    conditions.push(condition("Billed", "True", "by somebody else"));
    let status = halfway(&sim);
    sim.serve(status);

    sim.settle();

    assert_eq!(sim.set["status"]["color"], "blue");
    assert_eq!(told(&sim, "Billed")["message"], "by somebody else");
}

#[test]
fn a_condition_that_the_model_serving_no_longer_has_goes() {
    let mut sim = Sim::settled(set());
    let mut status = halfway(&sim);
    sim.serve(status.clone());
    sim.settle();
    status["conditions"].as_array_mut().unwrap().pop();
    sim.serve(status);

    sim.settle();

    assert_eq!(*told(&sim, "Stalled"), Value::Null);
}

#[test]
fn a_lost_model_serving_counts_as_nothing() {
    let mut sim = Sim::settled(set());
    let status = halfway(&sim);
    sim.serve(status);
    sim.settle();
    sim.serving = None;

    sim.step();

    assert_eq!(sim.set["status"]["readyReplicas"], 0);
    assert_eq!(told(&sim, "Progressing")["status"], "True");
    assert_eq!(told(&sim, "UpdateInProgress")["status"], "False");
}

#[rstest]
#[case::appears_with_its_first_reason("LeaderReady", "True")]
#[case::never_appears_without_one("LeaderCreated", "")]
fn unsupported_fields(#[case] policy: &str, #[case] expected: &str) {
    let mut set = set();
    set["spec"]["startupPolicy"] = json!(policy);
    let sim = Sim::settled(set);

    let status = told(&sim, "UnsupportedFields")["status"].as_str();
    assert_eq!(status.unwrap_or_default(), expected);
}
