mod membership;
mod routes;

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::pods::PodObject;
use crate::servers::{Attempts, Members};

fn pod(name: &str, uid: &str, labels: &[(&str, &str)]) -> PodFacts {
    PodFacts {
        namespace: "ns".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ready: true,
        address: Some([10, 0, 0, 1].into()),
        started_unix: None,
    }
}

fn server(name: &str, spec: &serde_json::Value) -> Arc<ModelServer> {
    Arc::new(
        serde_json::from_value(
            json!({"metadata": {"namespace": "ns", "name": name}, "spec": spec}),
        )
        .unwrap(),
    )
}

fn selecting(labels: &[(&str, &str)]) -> serde_json::Value {
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    json!({"workloadSelector": {"matchLabels": labels}, "workloadPort": {"port": 8000}})
}

fn names(snapshot: &Snapshot, server: &str) -> Vec<String> {
    snapshot
        .server(server)
        .unwrap()
        .pods()
        .map(|one| one.endpoint.pod().name.to_string())
        .collect()
}

#[test]
fn a_server_that_arrives_after_its_pods_has_them() {
    let mut view = View::default();
    view.apply_pod(pod("a", "1", &[("app", "x")]));
    view.apply_pod(pod("b", "2", &[("app", "y")]));
    view.apply_server(server("s", &selecting(&[("app", "x")])));

    let snapshot = view.snapshot();
    assert_eq!(names(&snapshot, "ns/s"), ["a"]);
    assert_eq!(
        snapshot
            .server("ns/s")
            .unwrap()
            .pods()
            .next()
            .unwrap()
            .address,
        "10.0.0.1:8000".parse().unwrap()
    );
}

#[test]
fn a_pod_may_belong_to_two_servers_and_counts_once() {
    let mut view = View::default();
    view.apply_server(server("s", &selecting(&[("app", "x")])));
    view.apply_server(server("t", &selecting(&[("tier", "1")])));
    view.apply_pod(pod("a", "1", &[("app", "x"), ("tier", "1")]));

    let snapshot = view.snapshot();
    let _busy = snapshot
        .server("ns/s")
        .unwrap()
        .pods()
        .next()
        .unwrap()
        .endpoint
        .begin();
    assert_eq!(
        snapshot
            .server("ns/t")
            .unwrap()
            .pods()
            .next()
            .unwrap()
            .endpoint
            .in_flight(),
        1
    );
}

#[test]
fn updates_keep_counters_and_another_uid_or_a_return_does_not() {
    let mut view = View::default();
    view.apply_server(server("s", &selecting(&[("app", "x")])));
    view.apply_pod(pod("a", "1", &[("app", "x")]));
    let before = view.snapshot();
    let busy = before
        .server("ns/s")
        .unwrap()
        .pods()
        .next()
        .unwrap()
        .endpoint
        .begin();

    let mut moved = pod("a", "1", &[("app", "x"), ("new", "label")]);
    moved.address = Some([10, 0, 0, 9].into());
    view.apply_pod(moved);
    let updated = view.snapshot();
    let candidate = &updated.server("ns/s").unwrap().pods().next().unwrap();
    assert_eq!(
        (
            candidate.endpoint.in_flight(),
            candidate.address.ip().to_string()
        ),
        (1, "10.0.0.9".to_owned())
    );

    view.apply_pod(pod("a", "2", &[("app", "x")]));
    assert_eq!(
        view.snapshot()
            .server("ns/s")
            .unwrap()
            .pods()
            .next()
            .unwrap()
            .endpoint
            .in_flight(),
        0
    );

    view.apply_pod(PodFacts {
        ready: false,
        ..pod("a", "2", &[("app", "x")])
    });
    assert!(names(&view.snapshot(), "ns/s").is_empty());
    drop(busy);
}

#[test]
fn a_late_deletion_of_an_earlier_pod_leaves_its_successor() {
    let mut view = View::default();
    view.apply_server(server("s", &selecting(&[("app", "x")])));
    view.apply_pod(pod("a", "2", &[("app", "x")]));

    view.delete_pod("ns", "a", "1");
    assert_eq!(names(&view.snapshot(), "ns/s"), ["a"]);
    view.delete_pod("ns", "a", "2");
    assert!(names(&view.snapshot(), "ns/s").is_empty());
}

#[test]
fn a_selector_that_matches_nothing_any_more_has_no_pods() {
    let mut view = View::default();
    view.apply_pod(pod("a", "1", &[("app", "x")]));
    view.apply_server(server("s", &selecting(&[("app", "x")])));
    assert_eq!(names(&view.snapshot(), "ns/s"), ["a"]);

    view.apply_server(server("s", &selecting(&[("app", "z")])));
    assert!(names(&view.snapshot(), "ns/s").is_empty());
    view.delete_server("ns", "s");
    assert!(view.snapshot().server("ns/s").is_none());
}

#[test]
fn a_servers_retry_budget_outlives_its_changes() {
    let mut view = View::default();
    view.apply_server(server("s", &selecting(&[("app", "x")])));
    let budget = |view: &mut View| {
        let snapshot = view.snapshot();
        Arc::clone(&snapshot.server("ns/s").unwrap().budget)
    };
    let before = budget(&mut view);

    view.apply_pod(pod("a", "1", &[("app", "z")]));
    view.apply_server(server("s", &selecting(&[("app", "z")])));

    assert!(Arc::ptr_eq(&before, &budget(&mut view)));
}

#[test]
fn an_old_snapshot_does_not_change() {
    let mut view = View::default();
    view.apply_server(server("s", &selecting(&[("app", "x")])));
    view.apply_pod(pod("a", "1", &[("app", "x")]));
    let old = view.snapshot();

    view.delete_pod("ns", "a", "1");
    let new = view.snapshot();

    assert_eq!(
        (names(&old, "ns/s").len(), names(&new, "ns/s").len()),
        (1, 0)
    );
}

#[rstest]
#[case::no_selector(json!({"workloadPort": {"port": 8000}}))]
#[case::no_labels(selecting(&[]))]
#[case::no_port(json!({"workloadSelector": {"matchLabels": {"app": "x"}}}))]
#[case::port_out_of_range(json!({"workloadSelector": {"matchLabels": {"app": "x"}}, "workloadPort": {"port": 70000}}))]
fn a_server_that_passed_no_admission_has_no_pods(#[case] spec: serde_json::Value) {
    let mut view = View::default();
    view.apply_pod(pod("a", "1", &[("app", "x")]));
    view.apply_server(server("s", &spec));

    assert!(names(&view.snapshot(), "ns/s").is_empty());
}

#[test]
fn policies_are_resolved() {
    let mut spec = selecting(&[("app", "x")]);
    spec["model"] = json!("");
    spec["trafficPolicy"] = json!({"timeout": "0s", "retry": {"attempts": 2}});
    let mut view = View::default();
    view.apply_server(server("s", &spec));
    spec["model"] = json!("served");
    spec["trafficPolicy"] =
        json!({"timeout": "1m30s", "retry": {"attempts": -1, "retryInterval": "0s"}});
    view.apply_server(server("t", &spec));

    let snapshot = view.snapshot();
    let (s, t) = (
        snapshot.server("ns/s").unwrap(),
        snapshot.server("ns/t").unwrap(),
    );
    assert_eq!(
        (s.model.as_deref(), s.timeout.map(|limit| limit.as_secs())),
        (None, None)
    );
    assert_eq!(
        s.attempts
            .map(|policy| (policy.retries, policy.interval.as_millis())),
        Some((2, 100))
    );
    assert_eq!(
        (t.model.as_deref(), t.timeout.map(|limit| limit.as_secs())),
        (Some("served"), Some(90))
    );
    assert_eq!(
        t.attempts,
        Some(Attempts {
            retries: 0,
            interval: std::time::Duration::ZERO
        })
    );
}

#[rstest]
#[case::ready("", "Running", "True", true)]
#[case::being_deleted("2026-01-01T00:00:00Z", "Running", "True", false)]
#[case::pending("", "Pending", "True", false)]
#[case::not_ready("", "Running", "False", false)]
fn readiness_of_a_pod(
    #[case] deleted: &str,
    #[case] phase: &str,
    #[case] ready: &str,
    #[case] expected: bool,
) {
    let mut object = json!({
        "metadata": {"name": "a", "namespace": "ns", "uid": "1", "labels": null, "managedFields": []},
        "spec": {"containers": []},
        "status": {"phase": phase, "podIP": "10.0.0.1", "conditions": [{"type": "Other", "status": "True"}, {"type": "Ready", "status": ready}]},
    });
    if !deleted.is_empty() {
        object["metadata"]["deletionTimestamp"] = json!(deleted);
    }

    let facts = PodFacts::from(&serde_json::from_value::<PodObject>(object).unwrap());

    assert_eq!(facts.ready, expected);
    assert_eq!(facts.address, Some([10, 0, 0, 1].into()));
}

#[test]
fn a_pod_that_reports_no_condition_is_not_ready() {
    let object =
        json!({"metadata": {"name": "a"}, "status": {"phase": "Running", "podIP": "10.0.0.1"}});

    let object: PodObject = serde_json::from_value(object).unwrap();

    assert!(!object.is_ready());
}

#[test]
fn a_ready_pod_takes_requests_once_it_has_an_address() {
    let mut view = View::default();
    view.apply_server(server("s", &selecting(&[("app", "x")])));
    view.apply_pod(PodFacts {
        address: None,
        ..pod("a", "1", &[("app", "x")])
    });
    assert!(names(&view.snapshot(), "ns/s").is_empty());

    view.apply_pod(pod("a", "1", &[("app", "x")]));
    assert_eq!(names(&view.snapshot(), "ns/s"), ["a"]);
}

#[test]
fn pods_of_another_namespace_belong_to_nobody_here() {
    let mut view = View::default();
    view.apply_server(server("s", &selecting(&[("app", "x")])));
    view.apply_pod(PodFacts {
        namespace: "other".to_owned(),
        ..pod("a", "1", &[("app", "x")])
    });

    assert!(names(&view.snapshot(), "ns/s").is_empty());
}

#[test]
fn roles_follow_the_labels() {
    let spec = json!({
        "workloadSelector": {"matchLabels": {"app": "x"}, "pdGroup": {
            "groupKey": "group", "decodeLabels": {"d": "1"}, "prefillLabels": {"p": "1"},
        }},
        "workloadPort": {"port": 8000},
    });
    let mut view = View::default();
    view.apply_pod(pod(
        "prefill",
        "1",
        &[("app", "x"), ("group", "g"), ("p", "1")],
    ));
    view.apply_pod(pod(
        "both",
        "2",
        &[("app", "x"), ("group", "g"), ("p", "1"), ("d", "1")],
    ));
    view.apply_pod(pod("neither", "3", &[("app", "x"), ("group", "g")]));
    view.apply_pod(pod(
        "groupless",
        "4",
        &[("app", "x"), ("group", ""), ("d", "1")],
    ));
    view.apply_server(server("s", &spec));

    let snapshot = view.snapshot();
    assert_eq!(
        roles(&snapshot, "ns/s"),
        [(
            "g".to_owned(),
            vec!["prefill".to_owned()],
            vec!["both".to_owned()]
        )]
    );

    view.apply_pod(pod(
        "both",
        "2",
        &[("app", "x"), ("group", "h"), ("d", "1")],
    ));
    let moved = view.snapshot();
    assert_eq!(
        roles(&moved, "ns/s"),
        [
            ("g".to_owned(), vec!["prefill".to_owned()], vec![]),
            ("h".to_owned(), vec![], vec!["both".to_owned()]),
        ]
    );

    view.delete_pod("ns", "prefill", "1");
    assert_eq!(
        roles(&view.snapshot(), "ns/s"),
        [("h".to_owned(), vec![], vec!["both".to_owned()])],
        "a group without pods is gone"
    );
}

/// Each group with its prefill and its decode pods.
fn roles(snapshot: &Snapshot, server: &str) -> Vec<(String, Vec<String>, Vec<String>)> {
    let Members::Disaggregated(roles) = &snapshot.server(server).unwrap().members else {
        panic!("no roles")
    };
    let name_of =
        |candidate: &kthena_router_scheduler::Candidate| candidate.endpoint.pod().name.to_string();
    let decode_of = |group: &crate::Group| {
        let all = roles.decode().iter().enumerate();
        all.filter(|(at, _)| std::ptr::eq(roles.partners(*at), group.prefill.as_slice()))
            .filter(|(at, _)| roles.group_of(*at).unwrap().name == group.name)
            .map(|(_, candidate)| name_of(candidate))
            .collect::<Vec<_>>()
    };
    let paired: Vec<_> = roles.paired().iter().map(name_of).collect();
    let told = roles.groups().iter().map(|group| {
        let decode = decode_of(group);
        for name in &decode {
            assert_eq!(paired.contains(name), !group.prefill.is_empty());
        }
        assert_eq!(decode.len(), group.decode);
        (
            group.name.clone(),
            group.prefill.iter().map(name_of).collect(),
            decode,
        )
    });
    told.collect()
}

#[test]
fn a_container_that_starts_anew_is_noticed_and_nothing_else_changes() {
    let started = |times: &[Option<&str>]| {
        let containers: Vec<_> = times
            .iter()
            .map(|time| match time {
                Some(time) => json!({"state": {"running": {"startedAt": time}}}),
                None => json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}}),
            })
            .collect();
        let object: PodObject = serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": "p", "uid": "1", "labels": {"app": "a"}},
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": containers,
            },
        }))
        .unwrap();
        PodFacts::from(&object)
    };
    let mut view = View::default();
    view.apply_server(server("s", &selecting(&[("app", "a")])));
    view.apply_pod(started(&[
        Some("2026-01-01T00:00:05Z"),
        Some("2026-01-01T00:00:09Z"),
        None,
    ]));
    let before = view.snapshot();
    let endpoint = |snapshot: &Snapshot| {
        let server = snapshot.server("ns/s").unwrap();
        Arc::clone(&server.pods().next().unwrap().endpoint)
    };
    assert_eq!(endpoint(&before).started_unix(), Some(1_767_225_609));

    view.apply_pod(started(&[Some("2026-01-01T00:01:00Z")]));

    let after = view.snapshot();
    assert_eq!(endpoint(&after).started_unix(), Some(1_767_225_660));
    assert_eq!(endpoint(&after).id(), endpoint(&before).id());
}
