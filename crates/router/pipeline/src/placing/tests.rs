use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kthena_router_health::{Failure, HealthConfig, HealthPolicy, Outcome};
use kthena_router_plugins::least_request::LeastRequest;
use kthena_router_scheduler::{InFlight, Profile};
use kthena_router_view::{PodFacts, View};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::body::BodyFacts;
use crate::path::ApiPath;

const BODY: &[u8] = br#"{"model":"m","prompt":"p"}"#;

/// A pod: its group and whether it prefills.
type Pod = (u8, bool);

/// A server of pairs; pods are named by their number.
fn server(pods: &[Pod]) -> Arc<ServerView> {
    let mut view = View::default();
    let spec = json!({
        "workloadSelector": {"matchLabels": {"app": "m"}, "pdGroup": {
            "groupKey": "group", "prefillLabels": {"role": "p"}, "decodeLabels": {"role": "d"},
        }},
        "workloadPort": {"port": 8000},
    });
    let object = json!({"metadata": {"namespace": "ns", "name": "s"}, "spec": spec});
    view.apply_server(Arc::new(serde_json::from_value(object).unwrap()));
    for (number, (group, prefills)) in (0_u8..).zip(pods) {
        let role = if *prefills { "p" } else { "d" };
        let labels = [("app", "m"), ("group", &group.to_string()), ("role", role)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        view.apply_pod(PodFacts {
            namespace: "ns".to_owned(),
            name: number.to_string(),
            uid: "u".to_owned(),
            labels: labels.into(),
            ready: true,
            address: Some([127, 0, 0, number].into()),
            started_unix: None,
        });
    }
    Arc::clone(view.snapshot().server("ns/s").unwrap())
}

fn pod<'s>(server: &'s ServerView, name: &str) -> &'s Candidate {
    let mut pods = server.pods();
    pods.find(|pod| *pod.endpoint.pod().name == *name).unwrap()
}

/// Makes pods busy.
fn busy(server: &ServerView, counts: &[u32]) -> Vec<InFlight> {
    let mut guards = Vec::new();
    for (number, count) in counts.iter().enumerate() {
        let pod = pod(server, &number.to_string());
        guards.extend((0..*count).map(|_| pod.endpoint.begin()));
    }
    guards
}

struct World {
    profile: Profile,
    health: HealthPolicy,
    origin: Instant,
    bound: Option<Binding>,
}

impl World {
    fn new() -> Self {
        let origin = Instant::now();
        Self {
            profile: Profile::new(vec![], vec![(Arc::new(LeastRequest), 1)], vec![]),
            health: HealthPolicy::new(HealthConfig::default(), origin),
            origin,
            bound: None,
        }
    }

    fn bind(&mut self, server: &str, pod: &str, group: Option<&str>) {
        self.bound = Some(Binding {
            server: server.into(),
            pod: pod.into(),
            group: group.map(Into::into),
        });
    }

    /// Fails until it is ejected.
    fn eject(&self, pod: &Candidate) {
        let health = health_of(&pod.endpoint).unwrap();
        for _ in 0..HealthConfig::default().consecutive_connect_failures {
            let ticket = self.health.begin(health, self.origin).unwrap();
            let failed = Outcome::Failed(Failure::Connect);
            self.health.report(health, ticket, failed, self.origin);
        }
    }

    fn way(&self, server: &Arc<ServerView>, seed: u64) -> Result<Way, RouteError> {
        let facts = BodyFacts::read(BODY).unwrap();
        let job = Job::new(facts, ApiPath::of("/v1/completions"), None, false);
        let means = Means {
            profile: &self.profile,
            health: &self.health,
            now: self.origin + Duration::from_millis(1),
            since_start: Duration::from_millis(1),
            plugins: None,
        };
        let mut placing = Placing {
            body: BODY,
            means: &means,
            explanation: None,
            bound: self.bound.as_ref(),
            rng: &mut Rng::with_seed(seed),
        };
        placing.way(&job, server)
    }

    /// The pairs that were chosen: decode, prefill.
    fn pairs(
        &self,
        server: &Arc<ServerView>,
        seed: u64,
    ) -> Result<Vec<(String, String)>, RouteError> {
        let Way::Pair(_, attempts) = self.way(server, seed)? else {
            panic!("no pairs")
        };
        let name = |pod: &Candidate| pod.endpoint.pod().name.to_string();
        let pairs = attempts.slots().iter();
        Ok(pairs
            .map(|pair| (name(&pair.decode), name(&pair.prefill)))
            .collect())
    }
}

const D: bool = false;
const P: bool = true;

#[rstest]
#[case::in_order_of_decode_load(&[(0, D), (0, P), (1, D), (1, P)], &[2, 0, 1, 0], &[("2", "3"), ("0", "1")])]
#[case::the_less_busy_prefill_pod(&[(0, D), (0, P), (0, P)], &[0, 3, 1], &[("0", "2")])]
#[case::one_prefill_pod_serves_several(&[(0, D), (0, D), (0, P)], &[0, 1, 5], &[("0", "2"), ("1", "2")])]
#[case::idle_pods_without_a_partner_do_not_crowd_out(&[(0, D), (1, D), (2, D), (3, D), (4, D), (9, D), (9, P)], &[0, 0, 0, 0, 0, 1], &[("5", "6")])]
#[case::a_group_without_prefill_is_passed_over(&[(0, D), (1, D), (1, P)], &[0, 4, 0], &[("1", "2")])]
fn which_pairs(#[case] pods: &[Pod], #[case] load: &[u32], #[case] expected: &[(&str, &str)]) {
    let server = server(pods);
    let _guards = busy(&server, load);

    let pairs = World::new().pairs(&server, 1).unwrap();

    let expected = expected
        .iter()
        .map(|(decode, prefill)| ((*decode).to_owned(), (*prefill).to_owned()));
    assert_eq!(pairs, expected.collect::<Vec<_>>());
}

#[rstest]
#[case::nobody(&[], RouteError::NoPods("ns/s".to_owned()))]
#[case::prefill_only(&[(0, P)], RouteError::NoDecodePod)]
#[case::never_together(&[(0, D), (1, P)], RouteError::NoPair)]
fn no_pairs(#[case] pods: &[Pod], #[case] expected: RouteError) {
    assert_eq!(World::new().pairs(&server(pods), 1).unwrap_err(), expected);
}

#[test]
fn an_ejected_pod_is_left_out_on_either_side_but_not_the_last() {
    let server = server(&[(0, D), (0, D), (0, P), (0, P)]);
    let world = World::new();
    world.eject(pod(&server, "0"));
    world.eject(pod(&server, "3"));

    for seed in 0..20 {
        assert_eq!(
            world.pairs(&server, seed).unwrap(),
            [("1".to_owned(), "2".to_owned())]
        );
    }

    world.eject(pod(&server, "2"));
    assert_eq!(world.pairs(&server, 1).unwrap().len(), 1);
}

#[rstest]
#[case::bound_to_a_busy_pod("ns/s", "2", Some("1"), ["2", "0"])]
#[case::its_pod_is_gone_but_not_its_group("ns/s", "9", Some("1"), ["2", "0"])]
#[case::all_of_it_is_gone("ns/s", "9", Some("9"), ["0", "2"])]
#[case::another_server("ns/t", "2", Some("1"), ["0", "2"])]
fn a_sessions_pair(
    #[case] bound_server: &str,
    #[case] pod: &str,
    #[case] group: Option<&str>,
    #[case] expected: [&str; 2],
) {
    let server = server(&[(0, D), (0, P), (1, D), (1, P)]);
    let _guards = busy(&server, &[0, 0, 7, 0]);
    let mut world = World::new();
    world.bind(bound_server, pod, group);

    let pairs = world.pairs(&server, 1).unwrap();

    let decodes: Vec<_> = pairs.iter().map(|(decode, _)| decode.as_str()).collect();
    assert_eq!(decodes, expected);
}

#[test]
fn a_session_leaves_a_pod_that_is_ejected() {
    let server = server(&[(0, D), (0, P), (1, D), (1, P)]);
    let mut world = World::new();
    world.bind("ns/s", "2", None);
    world.eject(self::pod(&server, "2"));

    assert_eq!(
        world.pairs(&server, 1).unwrap(),
        [("0".to_owned(), "1".to_owned())]
    );
}

fn pods() -> impl Strategy<Value = Vec<(Pod, u32, bool)>> {
    prop::collection::vec(
        (
            (0..3_u8, any::<bool>()),
            0..4_u32,
            prop::bool::weighted(0.2),
        ),
        0..12,
    )
}

proptest! {
    /// Whatever the pods: pairs stay within groups, the decode pods differ, the best come first, and a pair is found
    /// if there is one.
    #[test]
    fn pairs_are_sound(pods in pods(), seed in any::<u64>()) {
        let kinds: Vec<Pod> = pods.iter().map(|(pod, _, _)| *pod).collect();
        let load: Vec<u32> = pods.iter().map(|(_, load, _)| *load).collect();
        let server = server(&kinds);
        let _guards = busy(&server, &load);
        let world = World::new();
        for (number, _) in pods.iter().enumerate().filter(|(_, (_, _, ejected))| *ejected) {
            world.eject(pod(&server, &number.to_string()));
        }
        let with_role = |role: bool| kinds.iter().filter(move |(_, prefills)| *prefills == role);
        let could_pair = with_role(D).any(|(group, _)| with_role(P).any(|(other, _)| other == group));
        let at = |name: &str| -> usize { name.parse().unwrap() };

        match world.pairs(&server, seed) {
            Ok(pairs) => {
                prop_assert!((1..=5).contains(&pairs.len()));
                let decodes: BTreeSet<_> = pairs.iter().map(|(decode, _)| decode.clone()).collect();
                prop_assert_eq!(decodes.len(), pairs.len());
                for (decode, prefill) in &pairs {
                    prop_assert_eq!((kinds[at(decode)].1, kinds[at(prefill)].1), (D, P));
                    prop_assert_eq!(kinds[at(decode)].0, kinds[at(prefill)].0);
                }
                let loads: Vec<_> = pairs.iter().map(|(decode, _)| load[at(decode)]).collect();
                prop_assert!(loads.is_sorted(), "{:?}", loads);
            }
            Err(error) => {
                let none_is_left_out = pods.iter().all(|(_, _, ejected)| !ejected);
                prop_assert!(!could_pair || !none_is_left_out, "{}", error);
            }
        }
    }
}
