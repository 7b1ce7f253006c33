//! Whatever happens in whatever order, membership is that of a naive model.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;

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
