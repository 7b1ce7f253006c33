use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
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
        .candidates()
        .iter()
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
        snapshot.server("ns/s").unwrap().candidates()[0].address,
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
    let _busy = snapshot.server("ns/s").unwrap().candidates()[0]
        .endpoint
        .begin();
    assert_eq!(
        snapshot.server("ns/t").unwrap().candidates()[0]
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
    let busy = before.server("ns/s").unwrap().candidates()[0]
        .endpoint
        .begin();

    let mut moved = pod("a", "1", &[("app", "x"), ("new", "label")]);
    moved.address = Some([10, 0, 0, 9].into());
    view.apply_pod(moved);
    let updated = view.snapshot();
    let candidate = &updated.server("ns/s").unwrap().candidates()[0];
    assert_eq!(
        (
            candidate.endpoint.in_flight(),
            candidate.address.ip().to_string()
        ),
        (1, "10.0.0.9".to_owned())
    );

    view.apply_pod(pod("a", "2", &[("app", "x")]));
    assert_eq!(
        view.snapshot().server("ns/s").unwrap().candidates()[0]
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
    let Members::Disaggregated { groups, .. } = &snapshot.server("ns/s").unwrap().members else {
        panic!("no roles")
    };
    assert_eq!(names(&snapshot, "ns/s"), ["both"]);
    assert_eq!(
        (
            groups.len(),
            groups["g"].prefill.len(),
            groups["g"].decode.len()
        ),
        (1, 1, 1)
    );

    view.apply_pod(pod(
        "both",
        "2",
        &[("app", "x"), ("group", "h"), ("d", "1")],
    ));
    let moved = view.snapshot();
    let Members::Disaggregated { groups, .. } = &moved.server("ns/s").unwrap().members else {
        panic!("no roles")
    };
    assert_eq!((groups["g"].decode.len(), groups["h"].decode.len()), (0, 1));
}

/// What may happen, over few names so that everything meets everything.
#[derive(Debug, Clone)]
enum Happening {
    Pod {
        name: &'static str,
        uid: &'static str,
        ready: bool,
        app: &'static str,
        group: &'static str,
        role: &'static str,
    },
    PodGone(&'static str),
    Server {
        name: &'static str,
        app: &'static str,
        pd: bool,
    },
    ServerGone(&'static str),
    Look,
}

fn happening() -> impl Strategy<Value = Happening> {
    let name = || select(&["a", "b", "c"][..]);
    let app = || select(&["x", "y"][..]);
    prop_oneof![
        6 => (name(), select(&["1", "2"][..]), prop::bool::weighted(0.8), app(), select(&["", "g", "h"][..]), select(&["d", "p"][..]))
            .prop_map(|(name, uid, ready, app, group, role)| Happening::Pod { name, uid, ready, app, group, role }),
        2 => name().prop_map(Happening::PodGone),
        3 => (select(&["s", "t"][..]), app(), any::<bool>()).prop_map(|(name, app, pd)| Happening::Server { name, app, pd }),
        1 => select(&["s", "t"][..]).prop_map(Happening::ServerGone),
        2 => Just(Happening::Look),
    ]
}

fn server_spec(app: &str, pd: bool) -> serde_json::Value {
    let mut spec = selecting(&[("app", app)]);
    if pd {
        spec["workloadSelector"]["pdGroup"] = json!({"groupKey": "group", "decodeLabels": {"role": "d"}, "prefillLabels": {"role": "p"}});
    }
    spec
}

/// Everything a snapshot says about membership: server, role or group, pod, uid.
fn membership(snapshot: &Snapshot) -> BTreeSet<(String, String, String, String)> {
    let mut all = BTreeSet::new();
    for server in snapshot.servers() {
        let mut note = |role: String, candidates: &[kthena_router_scheduler::Candidate]| {
            for candidate in candidates {
                let pod = candidate.endpoint.pod();
                all.insert((
                    server.key.to_string(),
                    role.clone(),
                    pod.name.to_string(),
                    pod.uid.to_string(),
                ));
            }
        };
        match &server.members {
            Members::Aggregated(members) => note("member".to_owned(), members),
            Members::Disaggregated { groups, .. } => {
                for (name, group) in groups {
                    note(format!("{name} d"), &group.decode);
                    note(format!("{name} p"), &group.prefill);
                }
            }
        }
    }
    all
}

#[derive(Default)]
struct Model {
    pods: BTreeMap<&'static str, (&'static str, &'static str, &'static str, &'static str)>,
    servers: BTreeMap<&'static str, (&'static str, bool)>,
}

impl Model {
    fn note(&mut self, happening: &Happening) {
        match *happening {
            Happening::Pod {
                name,
                uid,
                ready: true,
                app,
                group,
                role,
            } => {
                self.pods.insert(name, (uid, app, group, role));
            }
            Happening::Pod { name, .. } | Happening::PodGone(name) => {
                self.pods.remove(name);
            }
            Happening::Server { name, app, pd } => {
                self.servers.insert(name, (app, pd));
            }
            Happening::ServerGone(name) => {
                self.servers.remove(name);
            }
            Happening::Look => {}
        }
    }

    fn membership(&self) -> BTreeSet<(String, String, String, String)> {
        let mut all = BTreeSet::new();
        for (server, (wanted, pd)) in &self.servers {
            for (pod, (uid, app, group, role)) in &self.pods {
                let part = if *pd {
                    format!("{group} {role}")
                } else {
                    "member".to_owned()
                };
                if app == wanted && !(*pd && group.is_empty()) {
                    all.insert((
                        format!("ns/{server}"),
                        part,
                        (*pod).to_owned(),
                        (*uid).to_owned(),
                    ));
                }
            }
        }
        all
    }
}

fn tell(view: &mut View, happening: &Happening) {
    match *happening {
        Happening::Pod {
            name,
            uid,
            ready,
            app,
            group,
            role,
        } => {
            view.apply_pod(PodFacts {
                ready,
                ..pod(name, uid, &[("app", app), ("group", group), ("role", role)])
            });
        }
        Happening::PodGone(name) => view.delete_pod("ns", name, ""),
        Happening::Server { name, app, pd } => {
            view.apply_server(server(name, &server_spec(app, pd)));
        }
        Happening::ServerGone(name) => view.delete_server("ns", name),
        Happening::Look => drop(view.snapshot()),
    }
}

proptest! {
    #[test]
    fn membership_agrees_with_a_naive_model(happenings in proptest::collection::vec(happening(), 0..40)) {
        let (mut view, mut model) = (View::default(), Model::default());
        for happening in &happenings {
            tell(&mut view, happening);
            model.note(happening);
            if matches!(happening, Happening::Look) {
                prop_assert_eq!(membership(&view.snapshot()), model.membership());
            }
        }
        prop_assert_eq!(membership(&view.snapshot()), model.membership());
    }

    #[test]
    fn counters_survive_exactly_as_long_as_their_pod(happenings in proptest::collection::vec(happening(), 0..40)) {
        let mut view = View::default();
        let mut busy: BTreeMap<(&str, &str), Vec<kthena_router_scheduler::InFlight>> = BTreeMap::new();
        for happening in &happenings {
            tell(&mut view, happening);
            match *happening {
                Happening::Pod { name, uid, ready: true, .. } => busy.retain(|key, _| key.0 != name || key.1 == uid),
                Happening::Pod { name, .. } | Happening::PodGone(name) => busy.retain(|key, _| key.0 != name),
                _ => {}
            }
            let snapshot = view.snapshot();
            for candidate in snapshot.servers().flat_map(|server| server.candidates()) {
                let pod = candidate.endpoint.pod();
                let key = busy.keys().find(|key| *key.0 == *pod.name && *key.1 == *pod.uid).copied();
                let held = key.map_or(0, |key| busy[&key].len());
                prop_assert_eq!(candidate.endpoint.in_flight() as usize, held);
            }
            if let Happening::Pod { name, uid, ready: true, .. } = *happening {
                let of_pod = snapshot.servers().flat_map(|server| server.candidates()).find(|one| *one.endpoint.pod().name == *name);
                if let Some(candidate) = of_pod {
                    busy.entry((name, uid)).or_default().push(candidate.endpoint.begin());
                }
            }
        }
    }
}
