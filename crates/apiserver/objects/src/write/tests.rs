use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::meta;
use crate::resource::Scope;
use crate::testing::{Bench, config_maps, namespaces, pods, widgets};

fn widget(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"color": "red"}, "status": {"ready": 1}})
}

fn generation(planned: &Planned) -> Option<i64> {
    meta::integer(&planned.object.value(), "generation")
}

#[test]
fn a_new_object_gets_what_the_server_sets_and_loses_what_it_may_not_bring() {
    let mut bench = Bench::new();
    let mut object = widget("w");
    object["metadata"] = json!({
        "name": "w", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9,
        "deletionTimestamp": "2001-01-01T00:00:00Z", "selfLink": "/x", "labels": {},
    });
    let made = bench
        .create(&widgets(), "a", object)
        .unwrap()
        .object
        .value();
    assert_eq!(
        made["metadata"],
        json!({
            "name": "w", "namespace": "a", "uid": "uid-1700000002", "generation": 1,
            "creationTimestamp": "2023-11-14T22:13:22Z", "resourceVersion": "3",
        })
    );
    assert_eq!(made.get("status"), None);
}

#[rstest]
#[case::labels_do_not(Part::Main, "/metadata/annotations", 1)]
#[case::spec_does(Part::Main, "/spec", 2)]
#[case::other_members_do(Part::Main, "/extra", 2)]
#[case::status_through_main_is_ignored(Part::Main, "/status", 1)]
#[case::status_does_not(Part::Status, "/status", 1)]
#[case::spec_through_status_is_ignored(Part::Status, "/spec", 1)]
fn what_raises_the_generation(#[case] part: Part<'_>, #[case] member: &str, #[case] expected: i64) {
    let mut bench = Bench::new();
    bench.create(&widgets(), "a", widget("w")).unwrap();
    let member = member.trim_start_matches('/');
    let planned = bench.edit(&widgets(), ("a", "w"), part, |object| {
        match member.split_once('/') {
            Some((outer, inner)) => object[outer][inner] = json!({"x": "y"}),
            None => object[member] = json!({"x": "y"}),
        }
    });
    assert_eq!(generation(&planned.unwrap()), Some(expected));
}

#[test]
fn kinds_without_a_generation_get_none() {
    let mut bench = Bench::new();
    let made = bench
        .create(&config_maps(), "a", json!({"metadata": {"name": "m"}}))
        .unwrap();
    assert_eq!(generation(&made), None);
}

#[test]
fn an_update_that_changes_nothing_leaves_no_trace() {
    let mut bench = Bench::new();
    bench.create(&widgets(), "a", widget("w")).unwrap();
    let version = bench.store.version();
    let planned = bench.edit(&widgets(), ("a", "w"), Part::Main, |object| {
        object["status"] = json!({"ignored": true});
        object["metadata"]["labels"] = json!({});
        object["metadata"]["generation"] = json!(77);
    });
    let planned = planned.unwrap();
    assert_eq!(
        (planned.outcome, planned.changes.len()),
        (Outcome::Unchanged, 0)
    );
    assert_eq!(bench.store.version(), version);
}

#[test]
fn names_are_drawn_from_a_seed_and_drawn_again_when_taken() {
    let mut bench = Bench::new();
    let made: Vec<String> = (0..3)
        .map(|_| {
            let object = json!({"metadata": {"generateName": "w-"}});
            bench
                .create(&config_maps(), "a", object)
                .unwrap()
                .object
                .name()
                .to_owned()
        })
        .collect();
    for name in &made {
        assert_eq!(name.len(), 7);
        assert!(name.starts_with("w-"), "{name}");
        assert!(
            name[2..]
                .bytes()
                .all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)),
            "{name}"
        );
    }
    assert_eq!(
        made.iter().collect::<std::collections::BTreeSet<_>>().len(),
        3
    );

    let mut again = Bench::new();
    let same = again
        .create(
            &config_maps(),
            "a",
            json!({"metadata": {"generateName": "w-"}}),
        )
        .unwrap();
    assert_eq!(same.object.name(), made[0]);
    let long = json!({"metadata": {"generateName": "x".repeat(80)}});
    assert_eq!(
        again
            .create(&config_maps(), "a", long)
            .unwrap()
            .object
            .name()
            .len(),
        63
    );
}

#[test]
fn no_free_name_is_a_conflict_that_says_so() {
    let mut bench = Bench::new();
    let error = (0..20)
        .find_map(|_| {
            bench
                .create(
                    &config_maps(),
                    "a",
                    json!({"metadata": {"generateName": "w-"}}),
                )
                .err()
        })
        .expect("the same seed runs out of names");
    assert_eq!(error.code_and_reason(), (409, "AlreadyExists"));
    assert!(error.to_string().ends_with(
        "already exists, the server was not able to generate a unique name for the object"
    ));
}

#[test]
fn outdated_writes_are_refused() {
    let mut bench = Bench::new();
    bench
        .create(&config_maps(), "a", json!({"metadata": {"name": "m"}}))
        .unwrap();
    let write = |bench: &mut Bench, member: &str, value: Value| {
        bench
            .edit(&config_maps(), ("a", "m"), Part::Main, |object| {
                object["metadata"][member] = value;
            })
            .unwrap_err()
    };
    let old = write(&mut bench, "resourceVersion", json!("1"));
    assert_eq!(old.code_and_reason(), (409, "Conflict"));
    assert_eq!(
        old.to_string(),
        "Operation cannot be fulfilled on configmaps \"m\": the object has been modified; please apply your \
         changes to the latest version and try again"
    );
    assert_eq!(write(&mut bench, "resourceVersion", json!("x")).code(), 400);
    let other = write(&mut bench, "uid", json!("u"));
    assert!(other.to_string().ends_with(
        "Precondition failed: UID in precondition: u, UID in object meta: uid-1700000002"
    ));
}

#[test]
fn an_update_may_leave_out_the_version_where_the_kind_allows_it() {
    let mut bench = Bench::new();
    let drop = |object: &mut Value| {
        object["metadata"]["resourceVersion"] = Value::Null;
        object["x"] = json!(1);
    };
    bench
        .create(&config_maps(), "a", json!({"metadata": {"name": "m"}}))
        .unwrap();
    assert!(
        bench
            .edit(&config_maps(), ("a", "m"), Part::Main, drop)
            .is_ok()
    );
    bench.create(&widgets(), "a", widget("w")).unwrap();
    assert_eq!(
        bench
            .edit(&widgets(), ("a", "w"), Part::Main, drop)
            .unwrap_err()
            .code(),
        422
    );
}

#[test]
fn admission_sees_both_states_and_may_change_or_refuse() {
    let mut bench = Bench::new();
    bench.create(&widgets(), "a", widget("w")).unwrap();
    let stored = bench
        .store
        .get(&widgets().group_resource, "a", "w")
        .unwrap()
        .value();
    let mut admit = |review: Review<'_>| {
        assert_eq!(review.old.unwrap()["spec"]["color"], "red");
        review.new["spec"]["color"] = json!("green");
        Ok(())
    };
    let author = Author::server(bench.now());
    let update = Update {
        namespace: "a",
        name: "w",
        part: Part::Main,
        object: stored.clone(),
        author,
        admit: &mut admit,
    };
    let planned = bench.store.plan_update(&widgets(), update).unwrap();
    assert_eq!(planned.object.value()["spec"]["color"], "green");
    assert_eq!(
        generation(&planned),
        Some(2),
        "a change by admission counts"
    );

    let mut refuse = |_: Review<'_>| Err(ApiError::bad_request("no"));
    let update = Update {
        namespace: "a",
        name: "w",
        part: Part::Main,
        object: stored,
        author,
        admit: &mut refuse,
    };
    assert_eq!(
        bench
            .store
            .plan_update(&widgets(), update)
            .unwrap_err()
            .code(),
        400
    );
}

#[test]
fn delete_preconditions_name_what_differs() {
    let mut bench = Bench::new();
    bench
        .create(&config_maps(), "a", json!({"metadata": {"name": "m"}}))
        .unwrap();
    let options = DeleteOptions {
        uid: Some("u".to_owned()),
        ..DeleteOptions::default()
    };
    let error = bench
        .delete(&config_maps(), ("a", "m"), options)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Operation cannot be fulfilled on ConfigMap \"m\": the UID in the precondition (u) does not match the UID \
         in record (uid-1700000002). The object might have been deleted and then recreated"
    );
    let options = DeleteOptions {
        resource_version: Some("1".to_owned()),
        ..DeleteOptions::default()
    };
    assert_eq!(
        bench
            .delete(&config_maps(), ("a", "m"), options)
            .unwrap_err()
            .code(),
        409
    );
    let options = DeleteOptions {
        uid: Some("uid-1700000002".to_owned()),
        ..DeleteOptions::default()
    };
    let gone = bench.delete(&config_maps(), ("a", "m"), options).unwrap();
    assert_eq!(
        (gone.outcome, gone.changes[0].kind),
        (Outcome::Deleted, ChangeKind::Deleted)
    );
}

fn pod(bound: bool, phase: &str) -> (Bench, &'static str) {
    let mut bench = Bench::new();
    let node = if bound { "n" } else { "" };
    bench.create(&pods(), "a", json!({"metadata": {"name": "p"}, "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}})).unwrap();
    let set = |object: &mut Value| object["status"] = json!({"phase": phase});
    bench.edit(&pods(), ("a", "p"), Part::Status, set).unwrap();
    (bench, "p")
}

#[rstest]
#[case::its_own_period(true, "Running", None, Some(30))]
#[case::a_given_period(true, "Running", Some(5), Some(5))]
#[case::negative_is_a_second(true, "Running", Some(-3), Some(1))]
#[case::at_once(true, "Running", Some(0), None)]
#[case::unbound_at_once(false, "Pending", None, None)]
#[case::finished_at_once(true, "Failed", Some(10), None)]
fn pods_get_time_to_stop(
    #[case] bound: bool,
    #[case] phase: &str,
    #[case] asked: Option<i64>,
    #[case] granted: Option<i64>,
) {
    let (mut bench, name) = pod(bound, phase);
    let options = DeleteOptions {
        grace_period_seconds: asked,
        ..DeleteOptions::default()
    };
    let planned = bench.delete(&pods(), ("a", name), options).unwrap();
    let expected = if granted.is_some() {
        Outcome::Deleting
    } else {
        Outcome::Deleted
    };
    assert_eq!(planned.outcome, expected);
    let marked = planned.object.value();
    assert_eq!(
        meta::integer(&marked, "deletionGracePeriodSeconds"),
        granted.or(Some(0))
    );
    assert!(meta::is_deleting(&marked));
}

#[test]
fn a_grace_period_only_gets_shorter() {
    let (mut bench, name) = pod(true, "Running");
    let ask = |bench: &mut Bench, seconds| {
        let options = DeleteOptions {
            grace_period_seconds: seconds,
            ..DeleteOptions::default()
        };
        bench.delete(&pods(), ("a", name), options).unwrap()
    };
    let first = ask(&mut bench, Some(20));
    assert_eq!(ask(&mut bench, None).changes.len(), 0);
    assert_eq!(ask(&mut bench, Some(40)).changes.len(), 0);
    let shorter = ask(&mut bench, Some(5));
    let end =
        |planned: &Planned| meta::text(&planned.object.value(), "deletionTimestamp").to_owned();
    assert_eq!(end(&first), "2023-11-14T22:13:44Z");
    assert_eq!(
        end(&shorter),
        "2023-11-14T22:13:29Z",
        "counted from the first delete"
    );
    assert_eq!(
        generation(&shorter),
        generation(&first),
        "the generation counts the first delete only"
    );
    assert_eq!(ask(&mut bench, Some(0)).outcome, Outcome::Deleted);
}

#[rstest]
#[case::background(json!({"propagationPolicy": "Background"}), Some(Propagation::Background))]
#[case::old_flag(json!({"orphanDependents": true}), Some(Propagation::Orphan))]
#[case::old_flag_off(json!({"orphanDependents": false}), Some(Propagation::Background))]
#[case::unset(json!({}), None)]
fn delete_options_are_read(#[case] body: Value, #[case] expected: Option<Propagation>) {
    assert_eq!(
        DeleteOptions::from_value(&body).unwrap().propagation,
        expected
    );
}

#[test]
fn contradicting_delete_options_are_refused() {
    let both = json!({"orphanDependents": true, "propagationPolicy": "Orphan"});
    assert_eq!(DeleteOptions::from_value(&both).unwrap_err().code(), 400);
    let unknown = json!({"propagationPolicy": "Sideways"});
    assert_eq!(DeleteOptions::from_value(&unknown).unwrap_err().code(), 422);
}

#[test]
fn status_writes_of_built_in_kinds_take_labels_but_no_owners() {
    let (mut bench, name) = pod(true, "Running");
    let planned = bench.edit(&pods(), ("a", name), Part::Status, |object| {
        object["metadata"]["labels"] = json!({"seen": "yes"});
        object["metadata"]["ownerReferences"] = json!([{"uid": "x"}]);
        object["spec"]["nodeName"] = json!("other");
    });
    let pod = planned.unwrap().object.value();
    assert_eq!(pod["metadata"]["labels"], json!({"seen": "yes"}));
    assert_eq!(pod["metadata"].get("ownerReferences"), None);
    assert_eq!(pod["spec"]["nodeName"], "n");
}

#[test]
fn a_write_for_a_subresource_of_its_own_may_change_everything() {
    let (mut bench, name) = pod(false, "Pending");
    let planned = bench.edit(&pods(), ("a", name), Part::Whole("binding"), |object| {
        object["spec"]["nodeName"] = json!("n2");
        object["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "True"}]);
    });
    let pod = planned.unwrap().object.value();
    assert_eq!(
        (
            &pod["spec"]["nodeName"],
            pod["status"]["conditions"].as_array().unwrap().len()
        ),
        (&json!("n2"), 1)
    );
}

#[test]
fn bodies_that_are_no_objects_are_refused() {
    let mut bench = Bench::new();
    assert_eq!(
        bench
            .create(&config_maps(), "a", json!([]))
            .unwrap_err()
            .code(),
        400
    );
    let cluster = Resource::builtin("", "nodes", "Node", Scope::Cluster);
    let node = json!({"metadata": {"name": "n", "namespace": "a"}, "status": {"x": 1}});
    let made = bench.create(&cluster, "", node).unwrap().object.value();
    assert_eq!(made["metadata"].get("namespace"), None);
    assert_eq!(
        made["status"],
        json!({"x": 1}),
        "a node registers with its status"
    );
    assert!(
        bench
            .store
            .get(&namespaces().group_resource, "", "a")
            .is_some()
    );
}
