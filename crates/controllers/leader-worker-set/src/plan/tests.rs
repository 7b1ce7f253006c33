use kthena_api::event::Severity;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{plan, refused};
use crate::plan::ServingWrite;
use crate::testing::{Sim, UID, merge, set, template};

fn reasons(sim: &Sim) -> Vec<&'static str> {
    sim.plan().events.iter().map(|event| event.reason).collect()
}

fn owner(uid: &str, kind: &str) -> Value {
    json!([{ "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": kind, "name": "sample", "uid": uid }])
}

/// The set beside a `ModelServing` that it did not make.
fn beside(owners: Value, metadata: &Value) -> Sim {
    let mut sim = Sim::new(set());
    let mut serving = Sim::settled(set()).serving.unwrap();
    serving["metadata"]["ownerReferences"] = owners;
    merge(&mut serving["metadata"], metadata);
    serving["spec"]["replicas"] = json!(9);
    sim.serving = Some(serving);
    sim
}

#[test]
fn r87_the_model_serving_is_owned_by_the_set() {
    let sim = Sim::new(set());
    let Some(ServingWrite::Create(object)) = sim.plan().write else {
        panic!("nothing is created");
    };
    assert_eq!(object["metadata"]["name"], "sample");
    assert_eq!(object["metadata"]["namespace"], "default");
    let expected = json!([{
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": "sample", "uid": UID,
        "controller": true, "blockOwnerDeletion": true,
    }]);
    assert_eq!(object["metadata"]["ownerReferences"], expected);
    assert_eq!(reasons(&sim), ["ModelServingCreated"]);
}

#[test]
fn r88_a_deleted_model_serving_is_made_again_once_it_is_gone() {
    let mut sim = Sim::settled(set());
    let mut leaving = sim.serving.clone().unwrap();
    leaving["metadata"]["deletionTimestamp"] = json!("2027-01-01T00:00:00Z");
    leaving["spec"]["replicas"] = json!(9);
    sim.serving = Some(leaving);
    assert_eq!(sim.plan().write, None, "what goes is not mended");

    sim.serving = None;
    assert!(matches!(sim.plan().write, Some(ServingWrite::Create(_))));
}

#[test]
fn a_set_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let mut sim = Sim::settled(set());
    sim.set["metadata"]["deletionTimestamp"] = json!("2027-01-01T00:00:00Z");
    sim.serving = None;
    assert!(sim.plan().is_idle());
}

#[rstest]
#[case::owned_by_nobody(json!(null))]
#[case::owned_by_another_kind(owner("x", "ModelBooster"))]
fn r89_a_strangers_model_serving_is_not_touched(#[case] owners: Value) {
    let mut sim = beside(owners, &json!({}));
    let before = sim.serving.clone();

    let plan = sim.step();

    assert_eq!(plan.write, None);
    assert_eq!(sim.serving, before);
    let event = &plan.events[0];
    assert_eq!(
        (event.severity, event.reason),
        (Severity::Warning, "NameConflict")
    );
    let blocked = &sim.set["status"]["conditions"][3];
    assert_eq!(
        (&blocked["type"], &blocked["status"]),
        (&json!("Blocked"), &json!("True"))
    );
    assert!(sim.plan().is_idle(), "it is said once");
}

#[test]
fn a_conflict_that_is_over_is_taken_back() {
    let mut sim = beside(json!(null), &json!({}));
    sim.settle();
    sim.serving = None;

    sim.settle();

    assert!(sim.serving.is_some());
    assert_eq!(sim.set["status"]["conditions"][3]["status"], "False");
}

#[test]
fn what_an_earlier_set_left_behind_is_waited_for_in_peace() {
    let mut sim = beside(owner("uid-of-the-earlier", "LeaderWorkerSet"), &json!({}));
    let plan = sim.step();
    assert_eq!((plan.write, plan.events), (None, Vec::new()));

    sim.serving = None;
    assert!(matches!(sim.plan().write, Some(ServingWrite::Create(_))));
}

#[test]
fn r89_a_set_that_another_controller_serves_is_left_alone() {
    let mut sim = Sim::new(set());
    sim.rival = Some("StatefulSet sample".to_owned());
    assert!(sim.plan().is_idle());

    let mut sim = beside(json!(null), &json!({}));
    sim.rival = Some("StatefulSet sample".to_owned());
    assert!(sim.plan().is_idle());
}

#[test]
fn what_was_made_before_the_other_controller_came_goes_unless_it_serves() {
    let mut sim = Sim::settled(set());
    sim.rival = Some("StatefulSet sample".to_owned());
    let mut serving = sim.clone();
    serving.serve(json!({ "availableReplicas": 1 }));

    sim.step();
    assert_eq!(sim.serving, None);
    assert!(sim.plan().is_idle());

    let plan = serving.step();
    assert_eq!((plan.write, plan.status), (None, None));
    assert_eq!(plan.events[0].reason, "ServedElsewhere");
}

#[test]
fn each_unsupported_field_is_told_once() {
    let mut set = set();
    set["spec"]["startupPolicy"] = json!("LeaderReady");
    set["spec"]["leaderWorkerTemplate"]["subGroupPolicy"] = json!({ "subGroupSize": 1 });
    let mut sim = Sim::new(set);
    assert_eq!(
        reasons(&sim),
        [
            "ModelServingCreated",
            "UnsupportedField",
            "UnsupportedField"
        ]
    );
    sim.settle();
    assert_eq!(reasons(&sim), Vec::<&str>::new());

    sim.edit(&json!({ "spec": { "leaderWorkerTemplate": { "subGroupPolicy": null } } }));
    assert_eq!(reasons(&sim), ["UnsupportedField"], "the list is another");
    sim.settle();
    sim.edit(&json!({ "spec": { "startupPolicy": null } }));
    sim.settle();
    let conditions = sim.set["status"]["conditions"].as_array().unwrap();
    let told = conditions
        .iter()
        .find(|one| one["type"] == "UnsupportedFields");
    assert_eq!(told.unwrap()["status"], "False");
}

#[test]
fn a_server_that_drops_what_is_sent_is_not_asked_for_ever() {
    let mut sim = Sim::settled(set());
    sim.edit(&json!({ "spec": { "rolloutStrategy": { "rollingUpdateConfiguration": { "maxSurge": 1 } } } }));
    assert!(sim.plan().write.is_some());
    sim.unmoved = sim.serving.as_ref().unwrap()["metadata"]["generation"].as_i64();

    let plan = sim.step();

    assert_eq!(plan.write, None);
    assert!(plan.events[0].message.contains("kthena crds"), "{plan:?}");
    assert!(sim.plan().is_idle());
}

#[test]
fn a_refusal_is_told_in_the_servers_words_and_taken_back() {
    let mut sim = Sim::new(set());
    let status = refused(
        &sim.view(),
        "replicas must be a non-negative integer",
        sim.now,
    );
    sim.set["status"] = serde_json::to_value(status.unwrap()).unwrap();
    let blocked = &sim.set["status"]["conditions"][3];
    assert_eq!(
        blocked["message"],
        "replicas must be a non-negative integer"
    );
    assert_eq!(
        refused(
            &sim.view(),
            "replicas must be a non-negative integer",
            sim.now
        ),
        None,
        "it is stored already"
    );

    sim.settle();

    assert_eq!(sim.set["status"]["conditions"][3]["status"], "False");
}

/// A user's change of a set.
fn edits() -> impl Strategy<Value = Value> {
    let count = || prop_oneof![Just(json!(null)), (0..5_i32).prop_map(|count| json!(count))];
    let share = || {
        prop_oneof![
            Just(json!(null)),
            (0..4_i32).prop_map(|count| json!(count)),
            (0..101_i32).prop_map(|percent| json!(format!("{percent}%"))),
        ]
    };
    let name = |names: &'static [&'static str]| {
        prop_oneof![
            Just(json!(null)),
            prop::sample::select(names).prop_map(|name| json!(name))
        ]
    };
    prop_oneof![
        count().prop_map(|replicas| json!({ "spec": { "replicas": replicas } })),
        count().prop_map(|size| json!({ "spec": { "leaderWorkerTemplate": { "size": size } } })),
        (0..3).prop_map(|image| {
            let image = template(&format!("engine:{image}"));
            json!({ "spec": { "leaderWorkerTemplate": { "workerTemplate": image } } })
        }),
        prop::option::of(0..3).prop_map(|image| {
            let leader = image.map(|image| template(&format!("lead:{image}")));
            json!({ "spec": { "leaderWorkerTemplate": { "leaderTemplate": leader } } })
        }),
        name(&["None", "Default", "RecreateGroupOnPodRestart", "Whatever"]).prop_map(
            |policy| json!({ "spec": { "leaderWorkerTemplate": { "restartPolicy": policy } } })
        ),
        name(&["LeaderReady", "LeaderCreated"])
            .prop_map(|policy| json!({ "spec": { "startupPolicy": policy } })),
        (share(), share(), count()).prop_map(|(unavailable, surge, partition)| {
            json!({ "spec": { "rolloutStrategy": { "rollingUpdateConfiguration": {
                "maxUnavailable": unavailable, "maxSurge": surge, "partition": partition,
            } } } })
        }),
        name(&["mine", "other"]).prop_map(|scheduler| {
            let pod = json!({ "spec": { "schedulerName": scheduler } });
            json!({ "spec": { "leaderWorkerTemplate": { "workerTemplate": pod } } })
        }),
    ]
}

proptest! {
    /// Whatever a user does one after the other, the end is what the last form of the set asks for by itself.
    #[test]
    fn edits_lead_where_a_new_set_would_begin(edits in prop::collection::vec(edits(), 1..8)) {
        let mut sim = Sim::settled(set());
        for edit in &edits {
            sim.edit(edit);
            let view = sim.view();
            prop_assert_eq!(plan(&view, sim.now), plan(&view, sim.now), "the same view, the same plan");
            sim.settle();
        }
        let fresh = Sim::settled(sim.set.clone());
        let wanted = crate::translate::translate(&sim.view().set);
        for end in [&sim, &fresh] {
            let serving = end.view().serving.unwrap();
            prop_assert_eq!(crate::owned::drift(&wanted, &serving), None);
        }
        let mut last = sim.serving.unwrap();
        let mut first = fresh.serving.unwrap();
        for spec in [&mut last["spec"], &mut first["spec"]] {
            // What is the default again may be written out; that both mean the same was seen above.
            spec.as_object_mut().unwrap().remove("rolloutStrategy");
        }
        prop_assert_eq!(&last["spec"], &first["spec"]);
    }

    /// An edit and its reversal leave the `ModelServing` meaning the same: nothing is written any more.
    #[test]
    fn a_settled_set_is_written_nothing(edits in prop::collection::vec(edits(), 0..5)) {
        let mut sim = Sim::new(set());
        for edit in &edits {
            sim.edit(edit);
        }
        sim.settle();
        let written = sim.clone();
        prop_assert!(sim.step().is_idle());
        prop_assert_eq!(written.serving, sim.serving);
        prop_assert_eq!(written.set, sim.set);
    }
}
