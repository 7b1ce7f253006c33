use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::backoff::{Backoff, BackoffRules};
use super::memory::{Blocked, Event, Exit, Life, PodMemory, StopCause};
use super::status::{Place, status};
use super::wish::{Part, PodWish};
use super::{Action, Phase, ProbeKind, Signal, is_initialized, phase, plan};

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn at(seconds: i64) -> Timestamp {
    START + SignedDuration::from_secs(seconds)
}

fn pod(spec: &Value) -> Pod {
    let object = json!({ "metadata": { "name": "p", "uid": "u", "generation": 3 }, "spec": spec });
    serde_json::from_value(object).unwrap()
}

fn wish(spec: &Value) -> PodWish {
    PodWish::of(&pod(spec))
}

fn exit(code: i32, from: i64, to: i64) -> Event {
    Event::Exited(Exit {
        code,
        signal: None,
        reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
        message: None,
        started_at: at(from),
        finished_at: at(to),
    })
}

fn started(second: i64) -> Event {
    Event::Started {
        at: at(second),
        stand_in: false,
    }
}

/// A pod and the world's answers to what its plan does.
struct Scene {
    wish: PodWish,
    memory: PodMemory,
    rules: BackoffRules,
}

impl Scene {
    fn new(spec: &Value) -> Self {
        Self {
            wish: wish(spec),
            memory: PodMemory::default(),
            rules: BackoffRules::default(),
        }
    }

    /// All actions at a moment, noted as being carried out.
    fn act(&mut self, second: i64) -> Vec<Action> {
        let mut all = Vec::new();
        loop {
            let next = plan(&self.wish, &self.memory, at(second)).actions;
            let fresh: Vec<Action> = next
                .into_iter()
                .filter(|action| !all.contains(action))
                .collect();
            if fresh.is_empty() {
                return all;
            }
            for action in &fresh {
                self.memory.note(action, at(second));
            }
            all.extend(fresh);
        }
    }

    fn starts(&mut self, second: i64) -> Vec<String> {
        let actions = self.act(second).into_iter();
        actions
            .filter_map(|action| match action {
                Action::Start { container } => Some(container),
                _ => None,
            })
            .collect()
    }

    fn tell(&mut self, container: &str, event: Event) {
        self.memory.record(container, event, &self.rules);
    }

    fn phase(&self) -> Phase {
        phase(&self.wish, &self.memory)
    }

    fn probe(&mut self, kind: ProbeKind, ok: bool) {
        let rule = *self.wish.main[0].rule(kind).unwrap();
        let threshold = if ok {
            rule.success_threshold
        } else {
            rule.failure_threshold
        };
        self.tell(
            "main",
            Event::Probed {
                kind,
                ok,
                threshold,
            },
        );
    }
}

fn kill(container: &str, second: i64) -> Action {
    Action::Signal {
        container: container.to_owned(),
        signal: Signal::Kill,
        deadline: at(second),
    }
}

fn term(container: &str, second: i64) -> Action {
    Action::Signal {
        container: container.to_owned(),
        signal: Signal::Term,
        deadline: at(second),
    }
}

#[test]
fn init_containers_come_one_by_one_and_sidecars_need_only_start() {
    let mut scene = Scene::new(&json!({
        "initContainers": [{ "name": "a" }, { "name": "side", "restartPolicy": "Always" }, { "name": "b" }],
        "containers": [{ "name": "x" }, { "name": "y" }],
    }));
    assert_eq!(scene.starts(0), ["a"]);
    scene.tell("a", started(0));
    assert_eq!(scene.starts(1), [""; 0]);
    scene.tell("a", exit(0, 0, 2));
    assert_eq!(scene.starts(2), ["side"]);
    scene.tell("side", started(2));
    assert_eq!(scene.starts(2), ["b"]);
    scene.tell("b", started(2));
    scene.tell("b", exit(0, 2, 3));
    assert_eq!(scene.starts(3), ["x", "y"]);
    assert_eq!(scene.phase(), Phase::Pending);
    scene.tell("x", started(3));
    scene.tell("y", started(3));
    assert_eq!(scene.phase(), Phase::Running);
}

#[rstest]
#[case::always_after_success("Always", 0, true, Phase::Running)]
#[case::always_after_failure("Always", 1, true, Phase::Running)]
#[case::on_failure_after_success("OnFailure", 0, false, Phase::Succeeded)]
#[case::on_failure_after_failure("OnFailure", 1, true, Phase::Running)]
#[case::never_after_success("Never", 0, false, Phase::Succeeded)]
#[case::never_after_failure("Never", 1, false, Phase::Failed)]
fn restart_policies(
    #[case] policy: &str,
    #[case] code: i32,
    #[case] again: bool,
    #[case] phase: Phase,
) {
    let mut scene =
        Scene::new(&json!({ "restartPolicy": policy, "containers": [{ "name": "main" }] }));
    scene.starts(0);
    scene.tell("main", started(0));
    scene.tell("main", exit(code, 0, 5));

    assert_eq!(scene.phase(), phase);
    assert_eq!(!scene.starts(5).is_empty(), again);
}

#[test]
fn restarts_wait_ten_seconds_then_twice_as_long_up_to_five_minutes() {
    let rules = BackoffRules::default();
    let mut backoff = Backoff::default();

    let delays: Vec<i64> = (0..9)
        .map(|_| {
            backoff
                .after_exit(SignedDuration::from_secs(1), &rules)
                .as_secs()
        })
        .collect();

    assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(
        backoff.after_exit(SignedDuration::from_mins(10), &rules),
        SignedDuration::ZERO
    );
}

#[test]
fn a_crash_loop_waits_for_its_moment() {
    let mut scene = Scene::new(&json!({ "containers": [{ "name": "main" }] }));
    scene.starts(0);
    scene.tell("main", started(0));
    scene.tell("main", exit(1, 0, 1));
    assert_eq!(scene.starts(1), ["main"]);
    scene.tell("main", started(1));
    scene.tell("main", exit(1, 1, 2));

    assert_eq!(
        plan(&scene.wish, &scene.memory, at(2)).wake_at,
        Some(at(12))
    );
    assert_eq!(scene.starts(11), [""; 0]);
    assert_eq!(scene.starts(12), ["main"]);
}

#[test]
fn probes_follow_their_numbers() {
    let mut scene = Scene::new(&json!({ "containers": [{
        "name": "main",
        "startupProbe": { "periodSeconds": 2, "failureThreshold": 2, "initialDelaySeconds": 3 },
        "readinessProbe": { "periodSeconds": 5, "successThreshold": 2, "failureThreshold": 2 },
        "livenessProbe": { "periodSeconds": 7, "failureThreshold": 1, "terminationGracePeriodSeconds": 4 },
    }] }));
    let probe = |kind| Action::Probe {
        container: "main".to_owned(),
        kind,
    };
    scene.starts(0);
    scene.tell("main", started(0));
    assert_eq!(plan(&scene.wish, &scene.memory, at(0)).wake_at, Some(at(3)));
    assert_eq!(scene.act(3), [probe(ProbeKind::Startup)]);
    assert_eq!(scene.act(6), [], "one run at a time");
    scene.probe(ProbeKind::Startup, true);
    assert_eq!(
        scene.act(6),
        [probe(ProbeKind::Readiness), probe(ProbeKind::Liveness)]
    );
    scene.probe(ProbeKind::Readiness, true);
    let ready =
        |scene: &Scene| super::is_ready(&scene.wish.main[0], &scene.memory.container("main"));
    assert!(!ready(&scene), "one success of two");
    assert_eq!(scene.act(11), [probe(ProbeKind::Readiness)]);
    scene.probe(ProbeKind::Readiness, true);
    assert!(ready(&scene));
    scene.act(16);
    scene.probe(ProbeKind::Readiness, false);
    assert!(ready(&scene), "one failure of two");
    scene.probe(ProbeKind::Liveness, false);
    let stop = Action::Stop {
        container: "main".to_owned(),
        deadline: at(20),
        probe: ProbeKind::Liveness,
    };
    assert_eq!(scene.act(16), [stop, term("main", 20)]);
    assert_eq!(scene.act(20), [kill("main", 20)]);
    scene.tell("main", exit(137, 0, 20));
    assert_eq!(scene.starts(20), ["main"]);
}

#[test]
fn a_stop_runs_the_hook_then_sigterm_then_sigkill() {
    let mut scene = Scene::new(&json!({
        "containers": [{ "name": "main", "lifecycle": { "preStop": { "sleep": { "seconds": 1 } } } }],
    }));
    scene.starts(0);
    scene.tell("main", started(0));
    scene.memory.stop_pod(StopCause::Deleted, at(30));
    let hook = Action::PreStop {
        container: "main".to_owned(),
        deadline: at(30),
    };
    assert_eq!(scene.act(0), [hook]);
    scene.tell("main", Event::PreStopped);
    assert_eq!(scene.act(1), [term("main", 30)]);
    assert_eq!(
        plan(&scene.wish, &scene.memory, at(1)).wake_at,
        Some(at(30))
    );
    assert_eq!(scene.act(30), [kill("main", 30)]);
    assert_eq!(scene.act(31), []);
    scene.tell("main", exit(137, 0, 31));
    assert_eq!(scene.act(31), [Action::Finish]);
}

#[test]
fn a_hook_that_outlives_the_grace_leaves_two_seconds() {
    let mut scene = Scene::new(&json!({
        "containers": [{ "name": "main", "lifecycle": { "preStop": { "sleep": { "seconds": 99 } } } }],
    }));
    scene.starts(0);
    scene.tell("main", started(0));
    scene.memory.stop_pod(StopCause::Deleted, at(5));
    scene.act(0);
    assert_eq!(scene.act(5), [term("main", 5)]);
    assert_eq!(scene.act(6), []);
    assert_eq!(scene.act(7), [kill("main", 7)]);
}

#[test]
fn a_second_deletion_shortens_the_grace_and_never_lengthens_it() {
    let mut scene = Scene::new(&json!({ "containers": [{ "name": "main" }] }));
    scene.starts(0);
    scene.tell("main", started(0));
    scene.memory.stop_pod(StopCause::Deleted, at(30));
    scene.act(0);
    scene.memory.stop_pod(StopCause::Deleted, at(60));
    scene.memory.stop_pod(StopCause::Gone, at(2));

    assert_eq!(scene.act(2), [kill("main", 2)]);
}

#[test]
fn sidecars_stop_last_and_in_reverse() {
    let sidecar = |name: &str| json!({ "name": name, "restartPolicy": "Always" });
    let mut scene = Scene::new(&json!({
        "initContainers": [sidecar("s1"), sidecar("s2")], "containers": [{ "name": "main" }],
    }));
    for name in ["s1", "s2", "main"] {
        scene.starts(0);
        scene.tell(name, started(0));
    }
    scene.memory.stop_pod(StopCause::Deleted, at(30));
    assert_eq!(scene.act(0), [term("main", 30)]);
    scene.tell("main", exit(0, 0, 1));
    assert_eq!(scene.act(1), [term("s2", 30)]);
    scene.tell("s2", exit(0, 0, 2));
    assert_eq!(scene.act(2), [term("s1", 30)]);
    scene.tell("s1", exit(143, 0, 3));
    assert_eq!(scene.act(3), [Action::Finish]);
    assert_eq!(scene.phase(), Phase::Succeeded);
}

#[test]
fn a_blocked_start_is_no_attempt() {
    let mut scene = Scene::new(&json!({ "containers": [{ "name": "main" }] }));
    scene.starts(0);
    let blocked = Blocked {
        reason: "ErrImagePull".to_owned(),
        message: "m".to_owned(),
        until: at(4),
    };
    scene.tell("main", Event::Blocked(blocked));

    assert_eq!(scene.memory.container("main").life, Life::Never);
    assert_eq!(plan(&scene.wish, &scene.memory, at(1)).wake_at, Some(at(4)));
    assert_eq!(scene.starts(4), ["main"]);
    assert_eq!(scene.memory.container("main").attempt, 1);
}

#[test]
fn news_of_an_end_may_overtake_news_of_the_start() {
    let mut scene =
        Scene::new(&json!({ "restartPolicy": "Never", "containers": [{ "name": "main" }] }));
    scene.starts(0);
    scene.tell("main", exit(0, 0, 0));
    scene.tell("main", started(0));

    assert_eq!(scene.phase(), Phase::Succeeded);
}

#[test]
fn a_status_is_equal_until_something_turns() {
    let spec = json!({ "containers": [{ "name": "main", "image": "i" }] });
    let pod = pod(&spec);
    let mut scene = Scene::new(&spec);
    scene.memory.accepted_at = Some(at(0));
    let place = Place {
        pod_ip: [127, 64, 0, 1].into(),
        host_ip: [127, 0, 0, 1].into(),
        is_alone: true,
    };
    let show = |scene: &Scene, before, second| {
        status(&pod, before, &scene.wish, &scene.memory, place, at(second))
    };
    scene.starts(0);
    scene.tell("main", started(1));

    let first = show(&scene, None, 1);
    let second = show(&scene, Some(&first), 50);
    scene.tell("main", exit(1, 1, 60));
    let third = show(&scene, Some(&second), 60);

    assert_eq!(first, second);
    let since = |status: &k8s_openapi::api::core::v1::PodStatus, kind: &str| {
        let all = status.conditions.as_ref().unwrap();
        let one = all.iter().find(|one| one.type_ == kind).unwrap();
        (
            one.status.clone(),
            one.last_transition_time.as_ref().unwrap().0,
        )
    };
    assert_eq!(since(&second, "Ready"), ("True".to_owned(), at(1)));
    assert_eq!(since(&third, "Ready"), ("False".to_owned(), at(60)));
    assert_eq!(since(&third, "PodScheduled"), ("True".to_owned(), at(1)));
    assert_eq!(third.observed_generation, Some(3));
}

#[test]
fn memory_survives_being_written_down() {
    let mut scene =
        Scene::new(&json!({ "containers": [{ "name": "main", "readinessProbe": {} }] }));
    scene.starts(0);
    scene.tell("main", started(0));
    scene.act(0);
    scene.probe(ProbeKind::Readiness, true);

    let text = serde_json::to_string(&scene.memory).unwrap();
    let read: PodMemory = serde_json::from_str(&text).unwrap();

    assert_eq!(read, scene.memory.settled());
    assert_eq!(read.container("main").readiness.passed, Some(true));
}

/// What may happen to a pod in one step of a random story.
#[derive(Debug, Clone)]
enum Turn {
    Answer(usize, bool),
    Exit(usize, i32),
    Pass(u8),
    Delete(u8),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0..4_usize, any::<bool>()).prop_map(|(who, ok)| Turn::Answer(who, ok)),
        2 => (0..4_usize, 0..2_i32).prop_map(|(who, code)| Turn::Exit(who, code)),
        3 => (0..40_u8).prop_map(Turn::Pass),
        1 => (0..20_u8).prop_map(Turn::Delete),
    ]
}

fn any_spec() -> impl Strategy<Value = Value> {
    let policy = prop::sample::select(vec!["Always", "OnFailure", "Never"]);
    (policy, any::<[bool; 4]>()).prop_map(|(policy, [probes, hook, sidecar, init])| {
        let mut main = json!({ "name": "c2" });
        if probes {
            main["startupProbe"] = json!({ "periodSeconds": 1 });
            main["livenessProbe"] = json!({ "periodSeconds": 1, "failureThreshold": 1 });
        }
        if hook {
            main["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 1 } } });
        }
        let mut before = Vec::new();
        if init {
            before.push(json!({ "name": "c0" }));
        }
        if sidecar {
            before.push(json!({ "name": "c1", "restartPolicy": "Always" }));
        }
        json!({ "restartPolicy": policy, "initContainers": before, "containers": [main, { "name": "c3" }] })
    })
}

/// Plays the processes of a pod and checks each action against what it may not do.
struct World {
    scene: Scene,
    now: i64,
    running: BTreeMap<String, bool>,
}

impl World {
    fn settle(&mut self) -> bool {
        let mut finished = false;
        for action in self.scene.act(self.now) {
            match action {
                Action::Start { container } => {
                    assert!(
                        self.scene.memory.stop.is_none(),
                        "a stopping pod starts nothing"
                    );
                    self.check_order(&container);
                    assert!(
                        self.running.insert(container.clone(), true).is_none(),
                        "two lives at once"
                    );
                    self.scene.tell(&container, started(self.now));
                }
                Action::Signal {
                    container,
                    signal,
                    deadline,
                } => {
                    assert!(self.running.contains_key(&container), "a signal to nobody");
                    if signal == Signal::Kill {
                        assert!(at(self.now) >= deadline, "killed before its deadline");
                        self.end(&container, 137);
                    }
                }
                Action::PreStop { container, .. } => self.scene.tell(&container, Event::PreStopped),
                Action::Finish => {
                    assert!(self.running.is_empty(), "finished while something runs");
                    finished = true;
                }
                Action::Probe { .. } | Action::PostStart { .. } | Action::Stop { .. } => {}
            }
        }
        finished
    }

    fn check_order(&self, container: &str) {
        let main = self.scene.wish.container(container).unwrap().part == Part::Main;
        let initialized = is_initialized(&self.scene.wish, &self.scene.memory);
        assert!(
            !main || initialized,
            "{container} before its init containers"
        );
    }

    fn end(&mut self, container: &str, code: i32) {
        if self.running.remove(container).is_some() {
            self.scene.tell(container, exit(code, self.now, self.now));
        }
    }

    fn play(&mut self, turn: &Turn) {
        match turn {
            Turn::Answer(who, ok) => {
                let name = format!("c{who}");
                for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
                    if self.scene.memory.container(&name).probe(kind).in_flight {
                        self.scene.tell(
                            &name,
                            Event::Probed {
                                kind,
                                ok: *ok,
                                threshold: 1,
                            },
                        );
                    }
                }
            }
            Turn::Exit(who, code) => self.end(&format!("c{who}"), *code),
            Turn::Pass(seconds) => self.now += i64::from(*seconds),
            Turn::Delete(grace) => {
                self.scene
                    .memory
                    .stop_pod(StopCause::Deleted, at(self.now + i64::from(*grace)));
            }
        }
    }
}

proptest! {
    #[test]
    fn any_story_keeps_the_invariants_and_every_deletion_ends(
        spec in any_spec(),
        turns in prop::collection::vec(turn(), 0..60),
    ) {
        let mut world = World { scene: Scene::new(&spec), now: 0, running: BTreeMap::new() };
        world.settle();
        for turn in &turns {
            world.play(turn);
            world.settle();
        }
        world.scene.memory.stop_pod(StopCause::Deleted, at(world.now + 10));
        let mut finished = false;
        for _ in 0..4 {
            finished |= world.settle();
            world.now += 10;
        }
        prop_assert!(finished);
    }

    #[test]
    fn delays_grow_and_stay_below_the_ceiling(runs in prop::collection::vec(0..700_i64, 1..50)) {
        let rules = BackoffRules::default();
        let mut backoff = Backoff::default();
        let mut last = SignedDuration::ZERO;
        for ran in runs {
            let delay = backoff.after_exit(SignedDuration::from_secs(ran), &rules);
            prop_assert!(delay <= rules.ceiling);
            prop_assert!(delay >= last || ran >= 600);
            last = delay;
        }
    }
}

#[test]
fn a_life_that_the_node_ended_is_no_restart_and_brings_no_delay() {
    let mut scene = Scene::new(&json!({ "containers": [{ "name": "main", "image": "i" }] }));
    let main = |scene: &Scene| scene.memory.container("main");
    scene.starts(0);
    scene.tell("main", started(0));
    scene.tell("main", exit(1, 0, 5));
    scene.starts(5);
    scene.tell("main", started(5));
    assert_eq!(main(&scene).own_restarts(), 1);

    scene.memory.stop_pod(StopCause::Shutdown, at(10));
    scene.tell("main", exit(143, 5, 10));
    assert_eq!(main(&scene).own_restarts(), 1);
    scene.memory.resume();
    assert!(main(&scene).is_interrupted());
    scene.starts(10);
    scene.tell("main", started(10));

    assert!(!main(&scene).is_interrupted());
    assert_eq!(
        (main(&scene).own_restarts(), main(&scene).restarts()),
        (1, 2)
    );
    scene.tell("main", exit(1, 10, 11));
    scene.starts(21);
    assert_eq!(main(&scene).own_restarts(), 2);
}
