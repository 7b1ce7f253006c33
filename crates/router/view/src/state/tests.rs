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

fn route(name: &str, created: &str, spec: &serde_json::Value) -> ModelRoute {
    let meta = json!({"namespace": "ns", "name": name, "creationTimestamp": created});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

/// Key of the route that a plain request for `model` meets.
fn met(view: &mut View, model: &str) -> Option<String> {
    let snapshot = view.snapshot();
    let facts = kthena_router_routing::RouteFacts {
        model,
        path: b"/v1/chat/completions",
        headers: &kthena_router_routing::NoHeaders,
    };
    let selection = snapshot.routes.select(&facts, 0)?;
    Some(selection.route.key().to_string())
}

const RULES: &str = r#"[{"targetModels": [{"modelServerName": "s"}]}]"#;

#[test]
fn all_names_of_a_route_follow_its_edits() {
    let rules: serde_json::Value = serde_json::from_str(RULES).unwrap();
    let mut view = View::default();
    let spec = json!({"modelName": "m", "loraAdapters": ["a", "b"], "rules": rules});
    view.apply_route(&route("r", "2026-01-01T00:00:00Z", &spec));
    assert_eq!(met(&mut view, "b").as_deref(), Some("ns/r"));

    let spec = json!({"modelName": "m", "loraAdapters": ["c"], "rules": rules});
    view.apply_route(&route("r", "2026-01-01T00:00:00Z", &spec));
    assert_eq!(view.snapshot().routes.models(), ["c", "m"]);
    assert_eq!(met(&mut view, "a"), None);
    assert_eq!(met(&mut view, "c").as_deref(), Some("ns/r"));

    let spec = json!({"modelName": "m", "parentRefs": [{"name": "gw"}], "rules": rules});
    view.apply_route(&route("r", "2026-01-01T00:00:00Z", &spec));
    assert_eq!(met(&mut view, "m"), None, "it moved to a gateway");
}

#[test]
fn the_next_oldest_route_takes_over_a_name() {
    let rules: serde_json::Value = serde_json::from_str(RULES).unwrap();
    let spec = json!({"modelName": "m", "rules": rules});
    let mut view = View::default();
    view.apply_route(&route("young", "2026-01-02T00:00:00Z", &spec));
    view.apply_route(&route("old", "2026-01-01T00:00:00Z", &spec));
    assert_eq!(met(&mut view, "m").as_deref(), Some("ns/old"));

    view.delete_route("ns", "old");
    assert_eq!(met(&mut view, "m").as_deref(), Some("ns/young"));
    view.delete_route("other", "young");
    assert_eq!(met(&mut view, "m").as_deref(), Some("ns/young"));
    view.delete_route("ns", "young");
    assert_eq!(met(&mut view, "m"), None);
    assert!(view.snapshot().routes.models().is_empty());
}

#[test]
fn servers_of_a_model_are_found_through_its_routes() {
    let mut view = View::default();
    let mut spec = selecting(&[("app", "x")]);
    spec["model"] = json!("served");
    view.apply_server(server("s", &spec));
    view.apply_server(server("t", &selecting(&[("app", "x")])));
    let targets =
        json!([{"modelServerName": "s"}, {"modelServerName": "t"}, {"modelServerName": "gone"}]);
    let spec =
        json!({"modelName": "m", "loraAdapters": ["a"], "rules": [{"targetModels": targets}]});
    view.apply_route(&route("r", "2026-01-01T00:00:00Z", &spec));
    let snapshot = view.snapshot();
    let found = |model| -> Vec<(String, String)> {
        let servers = snapshot.servers_of(model);
        servers
            .map(|(server, served)| (server.key.to_string(), served.to_owned()))
            .collect()
    };
    let told = |server: &str, served: &str| (server.to_owned(), served.to_owned());

    assert_eq!(found("m"), [told("ns/s", "served"), told("ns/t", "m")]);
    assert_eq!(found("a"), [told("ns/s", "a"), told("ns/t", "a")]);
    assert!(found("stranger").is_empty());
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
    /// A deletion that names the UID it is about.
    PodGoneLate(&'static str, &'static str),
    /// The watch broke: everything that exists is told again, and what it missed as deletions.
    Relist,
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
        1 => (name(), select(&["1", "2"][..])).prop_map(|(name, uid)| Happening::PodGoneLate(name, uid)),
        1 => Just(Happening::Relist),
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
            Members::Disaggregated(roles) => {
                for (at, candidate) in roles.decode().iter().enumerate() {
                    let group = roles.group_of(at).unwrap();
                    note(format!("{} d", group.name), std::slice::from_ref(candidate));
                }
                for group in roles.groups() {
                    note(format!("{} p", group.name), &group.prefill);
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
            Happening::PodGoneLate(name, uid) => {
                self.pods
                    .retain(|other, pod| *other != name || pod.0 != uid);
            }
            Happening::Look | Happening::Relist => {}
        }
    }

    /// What a relist tells: all that exists, and deletions of the rest.
    fn relisted(&self) -> Vec<Happening> {
        let mut told = Vec::new();
        for name in ["s", "t"] {
            told.push(match self.servers.get(name) {
                Some((app, pd)) => Happening::Server { name, app, pd: *pd },
                None => Happening::ServerGone(name),
            });
        }
        for name in ["c", "a", "b"] {
            told.push(match self.pods.get(name) {
                Some((uid, app, group, role)) => Happening::Pod {
                    name,
                    uid,
                    ready: true,
                    app,
                    group,
                    role,
                },
                None => Happening::PodGone(name),
            });
        }
        told
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
        Happening::PodGoneLate(name, uid) => view.delete_pod("ns", name, uid),
        Happening::Relist => {}
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
        // Whatever is told after the watch broke and before it is relisted is lost on the view.
        let mut is_broken = false;
        for happening in &happenings {
            model.note(happening);
            if matches!(happening, Happening::Relist) {
                is_broken = !is_broken;
                if !is_broken {
                    model.relisted().iter().for_each(|told| tell(&mut view, told));
                }
            }
            if is_broken {
                continue;
            }
            tell(&mut view, happening);
            if matches!(happening, Happening::Look) {
                prop_assert_eq!(membership(&view.snapshot()), model.membership());
            }
        }
        model.relisted().iter().for_each(|told| tell(&mut view, told));
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
                Happening::PodGoneLate(name, uid) => busy.retain(|key, _| *key != (name, uid)),
                _ => {}
            }
            let snapshot = view.snapshot();
            for candidate in snapshot.servers().flat_map(|server| server.pods()) {
                let pod = candidate.endpoint.pod();
                let key = busy.keys().find(|key| *key.0 == *pod.name && *key.1 == *pod.uid).copied();
                let held = key.map_or(0, |key| busy[&key].len());
                prop_assert_eq!(candidate.endpoint.in_flight() as usize, held);
            }
            if let Happening::Pod { name, uid, ready: true, .. } = *happening {
                let of_pod = snapshot.servers().flat_map(|server| server.pods()).find(|one| *one.endpoint.pod().name == *name);
                if let Some(candidate) = of_pod {
                    busy.entry((name, uid)).or_default().push(candidate.endpoint.begin());
                }
            }
        }
    }
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
