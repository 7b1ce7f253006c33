use std::sync::atomic::AtomicUsize;

use fastrand::Rng;
use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use rstest::rstest;

use super::*;

const ANSWER: Outcome = Outcome::Answered { connect: None };
const REFUSED: Outcome = Outcome::Failed(Failure::Connect);
const CLOSED: Outcome = Outcome::Failed(Failure::Closed);

/// A policy, a few endpoints and a clock that only the test moves.
struct Scene {
    policy: HealthPolicy,
    pods: Vec<EndpointHealth>,
    now: Instant,
    rng: Rng,
}

impl Scene {
    fn new(pods: usize) -> Self {
        Self::with(pods, HealthConfig::default())
    }

    fn with(pods: usize, config: HealthConfig) -> Self {
        let now = Instant::now();
        Self {
            policy: HealthPolicy::new(config, now),
            pods: (0..pods).map(|_| EndpointHealth::default()).collect(),
            now,
            rng: Rng::with_seed(11),
        }
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn attempt(&self, pod: usize, outcome: Outcome) -> Option<Change> {
        let ticket = self.policy.begin(&self.pods[pod], self.now).unwrap();
        self.policy
            .report(&self.pods[pod], ticket, outcome, self.now)
    }

    fn attempts(&self, pod: usize, outcome: Outcome, times: usize) -> Option<Change> {
        (0..times).find_map(|_| self.attempt(pod, outcome))
    }

    fn standing(&self, pod: usize) -> Standing {
        self.policy.standing(&self.pods[pod], self.now)
    }

    fn admitted(&mut self) -> Vec<usize> {
        let list = self.pods.iter();
        let admission = self.policy.admit(list, self.now, &mut self.rng);
        (0..self.pods.len())
            .filter(|position| admission.contains(*position))
            .collect()
    }

    /// Takes `pod` from trusted to ejected by refused connections.
    fn break_down(&self, pod: usize) -> Duration {
        match self.attempts(pod, REFUSED, 10) {
            Some(Change::Ejected { period, .. }) => period,
            other => panic!("not ejected but {other:?}"),
        }
    }
}

#[test]
fn the_way_of_an_endpoint_that_fails_and_recovers() {
    let mut scene = Scene::new(4);
    assert_eq!(scene.attempts(0, REFUSED, 2), None);
    assert_eq!(scene.admitted(), [0, 1, 2, 3]);
    assert_eq!(
        scene.attempt(0, REFUSED),
        Some(Change::Ejected {
            period: Duration::from_secs(5),
            cause: Cause::Connections
        })
    );
    assert_eq!(scene.admitted(), [1, 2, 3]);

    scene.wait(4.9);
    assert_eq!(scene.admitted(), [1, 2, 3]);
    scene.wait(0.1);
    assert_eq!(scene.standing(0), Standing::Probing { busy: false });
    assert_eq!(scene.admitted(), [0, 1, 2, 3]);

    // One request at a time may try.
    let probe = scene.policy.begin(&scene.pods[0], scene.now).unwrap();
    assert_eq!(scene.admitted(), [1, 2, 3]);
    let change = scene
        .policy
        .report(&scene.pods[0], probe, REFUSED, scene.now);
    assert_eq!(
        change,
        Some(Change::Ejected {
            period: Duration::from_secs(10),
            cause: Cause::Probe
        })
    );

    scene.wait(10.0);
    assert_eq!(scene.attempt(0, ANSWER), Some(Change::Returning));
    assert_eq!(scene.standing(0), Standing::Returning { weight: 0.1 });
    scene.wait(7.5);
    assert_eq!(scene.standing(0), Standing::Returning { weight: 0.55 });
    scene.wait(7.5);
    assert_eq!(scene.standing(0), Standing::Trusted);
    assert!(scene.policy.tally.is_zero());
}

#[rstest]
#[case::connections(REFUSED, 3, Cause::Connections)]
#[case::closed(CLOSED, 5, Cause::Consecutive)]
#[case::timeouts(Outcome::Failed(Failure::Timeout), 5, Cause::Consecutive)]
#[case::unavailable(Outcome::Failed(Failure::Unavailable), 5, Cause::Consecutive)]
#[case::broken_streams(Outcome::Failed(Failure::Broken), 5, Cause::Consecutive)]
#[case::internal_errors(Outcome::Failed(Failure::Internal), 20, Cause::Rate)]
#[case::slow_connections(Outcome::Answered { connect: Some(Duration::from_secs(2)) }, 20, Cause::Rate)]
fn ejects_at_the_nth(#[case] outcome: Outcome, #[case] times: usize, #[case] expected: Cause) {
    let scene = Scene::new(2);
    assert_eq!(scene.attempts(0, outcome, times - 1), None);
    match scene.attempt(0, outcome) {
        Some(Change::Ejected { cause, .. }) => assert_eq!(cause, expected),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::an_answer(ANSWER)]
#[case::being_busy(Outcome::Busy)]
fn ends_a_row_of_failures(#[case] between: Outcome) {
    let scene = Scene::new(2);
    for _ in 0..4 {
        assert_eq!(scene.attempts(0, CLOSED, 4), None);
        assert_eq!(scene.attempt(0, between), None);
        // Keeps the rate below a half.
        assert_eq!(scene.attempts(0, ANSWER, 8), None);
    }
}

#[test]
fn a_client_that_leaves_says_nothing() {
    let scene = Scene::new(2);
    assert_eq!(scene.attempts(0, CLOSED, 4), None);
    assert_eq!(scene.attempts(0, Outcome::Abandoned, 100), None);
    assert!(scene.attempt(0, CLOSED).is_some());
}

#[test]
fn the_rate_needs_volume_within_the_window() {
    let mut scene = Scene::new(2);
    let fail = Outcome::Failed(Failure::Internal);
    assert_eq!(scene.attempts(0, fail, 19), None);
    scene.wait(10.0);
    assert_eq!(scene.attempts(0, fail, 19), None);
    assert!(scene.attempt(0, fail).is_some());
}

#[test]
fn a_rate_below_the_limit_is_borne() {
    let scene = Scene::new(2);
    for _ in 0..200 {
        assert_eq!(scene.attempts(0, ANSWER, 2), None);
        assert_eq!(scene.attempt(0, CLOSED), None);
    }
}

#[test]
fn periods_double_to_a_cap_and_are_forgiven() {
    let mut scene = Scene::new(2);
    let mut periods = Vec::new();
    let mut period = scene.break_down(0);
    for _ in 0..6 {
        periods.push(period.as_secs());
        scene.wait(period.as_secs_f64());
        period = scene.break_down(0);
    }
    assert_eq!(periods, [5, 10, 20, 40, 80, 120]);

    scene.wait(120.0);
    assert_eq!(scene.attempt(0, ANSWER), Some(Change::Returning));
    scene.wait(15.0);
    assert_eq!(scene.standing(0), Standing::Trusted);
    scene.wait(60.0);
    assert_eq!(scene.break_down(0), Duration::from_secs(5));
}

#[test]
fn a_relapse_while_returning_is_punished_harder() {
    let mut scene = Scene::new(2);
    let first = scene.break_down(0);
    scene.wait(first.as_secs_f64());
    assert_eq!(scene.attempt(0, ANSWER), Some(Change::Returning));
    scene.wait(1.0);
    assert_eq!(scene.break_down(0), Duration::from_secs(10));
}

#[test]
fn outcomes_of_attempts_from_before_the_ejection_are_late() {
    let mut scene = Scene::new(2);
    let early: Vec<Ticket> = (0..20)
        .map(|_| scene.policy.begin(&scene.pods[0], scene.now).unwrap())
        .collect();
    scene.break_down(0);
    scene.wait(2.0);
    for (at, ticket) in early.into_iter().enumerate() {
        let outcome = if at % 2 == 0 { ANSWER } else { CLOSED };
        let change = scene
            .policy
            .report(&scene.pods[0], ticket, outcome, scene.now);
        assert_eq!(change, None);
    }
    assert_eq!(
        scene.standing(0),
        Standing::Ejected {
            left: Duration::from_secs(3)
        }
    );
}

#[test]
fn a_probe_without_an_outcome_blocks_for_a_while_only() {
    let mut scene = Scene::new(4);
    scene.break_down(0);
    scene.wait(5.0);
    let _lost = scene.policy.begin(&scene.pods[0], scene.now);
    assert_eq!(scene.standing(0), Standing::Probing { busy: true });
    scene.wait(30.0);
    assert_eq!(scene.standing(0), Standing::Probing { busy: false });

    let ticket = scene.policy.begin(&scene.pods[0], scene.now).unwrap();
    let change = scene
        .policy
        .report(&scene.pods[0], ticket, Outcome::Abandoned, scene.now);
    assert_eq!(change, None);
    assert_eq!(scene.standing(0), Standing::Probing { busy: false });
}

#[test]
fn a_returning_endpoint_takes_a_growing_share() {
    let mut scene = Scene::new(2);
    scene.break_down(0);
    scene.wait(5.0);
    scene.attempt(0, ANSWER);
    let mut share = || (0..2000).filter(|_| scene.admitted().contains(&0)).count();
    assert!((100..320).contains(&share()), "about a tenth at first");
    scene.wait(7.5);
    let mut share = || (0..2000).filter(|_| scene.admitted().contains(&0)).count();
    assert!((950..1250).contains(&share()), "about a half later");
}

#[test]
fn without_a_slow_start_a_return_is_at_once() {
    let config = HealthConfig {
        slow_start: Duration::ZERO,
        ..HealthConfig::default()
    };
    let mut scene = Scene::with(2, config);
    scene.break_down(0);
    scene.wait(5.0);
    assert_eq!(scene.attempt(0, ANSWER), Some(Change::Returning));
    assert_eq!(scene.standing(0), Standing::Trusted);
    assert!(scene.policy.tally.is_zero());
}

#[rstest]
#[case::the_last_one(1, 0)]
#[case::one_of_two(2, 1)]
#[case::one_of_three(3, 1)]
#[case::two_of_four(4, 2)]
#[case::fifty_of_a_hundred(100, 50)]
fn no_more_than_the_share_is_left_out(#[case] pods: usize, #[case] left_out: usize) {
    let mut scene = Scene::new(pods);
    for pod in 0..pods {
        scene.break_down(pod);
    }
    assert_eq!(scene.admitted().len(), pods - left_out);
}

#[test]
fn those_that_may_be_tried_soonest_fill_the_share() {
    let mut scene = Scene::new(3);
    scene.break_down(2);
    scene.wait(1.0);
    scene.break_down(0);
    scene.wait(1.0);
    scene.break_down(1);
    assert_eq!(scene.admitted(), [0, 2]);
}

#[test]
fn the_only_endpoint_is_tried_by_everyone_even_while_it_is_probed() {
    let mut scene = Scene::new(1);
    scene.break_down(0);
    for _ in 0..3 {
        assert_eq!(scene.admitted(), [0]);
        assert!(scene.policy.begin(&scene.pods[0], scene.now).is_some());
        scene.wait(3.0);
    }
}

#[test]
fn a_retired_endpoint_takes_nothing_new() {
    let mut scene = Scene::new(2);
    scene.pods[0].retire();
    assert_eq!(scene.policy.begin(&scene.pods[0], scene.now), None);
    scene.break_down(1);
    assert_eq!(scene.admitted(), [1], "the last that is left");
    scene.pods[1].retire();
    assert_eq!(scene.admitted(), Vec::<usize>::new());
}

#[test]
fn nothing_is_ejected_when_it_is_off() {
    let scene = Scene::with(2, HealthConfig::off());
    assert_eq!(scene.attempts(0, REFUSED, 1000), None);
}

#[test]
fn an_endpoint_that_goes_while_in_trouble_is_not_counted_for_ever() {
    let mut scene = Scene::new(3);
    scene.break_down(0);
    scene.break_down(1);
    assert!(!scene.policy.tally.is_zero());
    scene.pods.clear();
    assert!(scene.policy.tally.is_zero());
}

#[test]
fn failures_from_many_threads_eject_once() {
    for _ in 0..200 {
        let scene = Scene::new(2);
        let changes = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if scene.attempts(0, REFUSED, 3).is_some() {
                        changes.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        // Those that began after the ejection were let in by nobody; they change nothing.
        assert_eq!(changes.load(Ordering::Relaxed), 1);
        assert!(matches!(scene.standing(0), Standing::Ejected { .. }));
    }
}

#[test]
fn default_settings_are_in_range() {
    assert_eq!(HealthConfig::default().faults(), []);
    let bad = HealthConfig {
        max_ejected_share: 1.5,
        first_share: 0.0,
        error_rate: -1.0,
        window: Duration::ZERO,
        base_ejection: Duration::from_secs(500),
        ..HealthConfig::default()
    };
    let fields: Vec<_> = bad.faults().iter().map(|fault| fault.field).collect();
    assert_eq!(
        fields,
        [
            "maxEjectedShare",
            "firstShare",
            "errorRate",
            "window",
            "baseEjection"
        ]
    );
}

/// What may happen to one of a server's endpoints.
#[derive(Debug, Clone)]
enum Step {
    Attempt(usize, Outcome),
    Lost(usize),
    Wait(u64),
    Retire(usize),
    Replace(usize),
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(ANSWER),
        1 => Just(Outcome::Busy),
        1 => Just(Outcome::Abandoned),
        4 => Just(REFUSED),
        2 => Just(CLOSED),
        2 => Just(Outcome::Failed(Failure::Internal)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_usize..6, outcomes()).prop_map(|(pod, outcome)| Step::Attempt(pod, outcome)),
        1 => (0_usize..6).prop_map(Step::Lost),
        3 => (1_u64..20_000).prop_map(Step::Wait),
        1 => (0_usize..6).prop_map(Step::Retire),
        2 => (0_usize..6).prop_map(Step::Replace),
    ];
    proptest::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn share_and_last_endpoint_hold_whatever_happens(
        pods in 1_usize..7,
        share in 0.0_f64..=1.0,
        steps in steps(),
    ) {
        // No slow start, so that only failing leaves anybody out.
        let config = HealthConfig { max_ejected_share: share, slow_start: Duration::ZERO, ..HealthConfig::default() };
        let mut scene = Scene::with(pods, config);
        for step in steps {
            match step {
                Step::Attempt(pod, outcome) => {
                    let health = &scene.pods[pod % pods];
                    if let Some(ticket) = scene.policy.begin(health, scene.now) {
                        scene.policy.report(health, ticket, outcome, scene.now);
                    }
                }
                Step::Lost(pod) => drop(scene.policy.begin(&scene.pods[pod % pods], scene.now)),
                Step::Wait(millis) => scene.now += Duration::from_millis(millis),
                Step::Retire(pod) => scene.pods[pod % pods].retire(),
                Step::Replace(pod) => scene.pods[pod % pods] = EndpointHealth::default(),
            }
            let live = scene.pods.iter().filter(|pod| !pod.is_retired()).count();
            let admitted = scene.admitted();
            let live_admitted = admitted.iter().filter(|pod| !scene.pods[**pod].is_retired()).count();
            prop_assert!(live == 0 || live_admitted > 0, "the last endpoint was left out");
            let count = |pods: usize| f64::from(u32::try_from(pods).unwrap());
            prop_assert!(count(live - live_admitted) <= count(live) * share);
        }
    }

    #[test]
    fn every_endpoint_that_answers_again_is_trusted_again(steps in steps()) {
        let mut scene = Scene::new(6);
        for step in steps {
            match step {
                Step::Attempt(pod, outcome) => drop(scene.attempt(pod, outcome)),
                Step::Lost(pod) => drop(scene.policy.begin(&scene.pods[pod], scene.now)),
                Step::Wait(millis) => scene.now += Duration::from_millis(millis),
                Step::Retire(_) | Step::Replace(_) => {}
            }
        }
        // The longest ejection, a lost probe, then an answer each second through a slow start.
        scene.wait(151.0);
        for _ in 0..20 {
            for pod in 0..6 {
                let ejected = matches!(scene.attempt(pod, ANSWER), Some(Change::Ejected { .. }));
                prop_assert!(!ejected);
            }
            scene.wait(1.0);
        }
        prop_assert_eq!(scene.admitted(), [0, 1, 2, 3, 4, 5]);
        prop_assert!(scene.policy.tally.is_zero());
    }
}
