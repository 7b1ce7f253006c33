use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::Now;
use crate::settings::{BoostConfig, FairnessConfig, Pace};

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Queues for the model "llama", and a clock that only the test moves.
struct Scene {
    queues: Arc<Queues>,
    time: Arc<Mutex<Now>>,
}

impl Scene {
    fn new(config: QueueConfig) -> Self {
        let start = Now {
            monotonic: Instant::now(),
            unix: 1_700_000_000,
        };
        let time = Arc::new(Mutex::new(start));
        let shown = Arc::clone(&time);
        let queues = Arc::new(Queues::new(config, Arc::new(move || *lock(&shown))));
        queues.set_models(["llama", "qwen"]);
        Self { queues, time }
    }

    fn wait(&self, span: Duration) {
        let mut now = lock(&self.time);
        now.monotonic += span;
        now.unix += span.as_secs();
    }

    fn enter(&self, user: &str, session: &str) -> Waiting {
        self.try_enter(user, session).unwrap()
    }

    fn try_enter(&self, user: &str, session: &str) -> Result<Waiting, Refused> {
        self.queues.enter(&Ask {
            model: "llama",
            user,
            session: Some(session),
            ..Ask::default()
        })
    }

    fn counts(&self) -> QueueCounts {
        let all = self.queues.counts();
        let found = all.into_iter().find(|(model, _)| &**model == "llama");
        found.map(|(_, counts)| counts).unwrap_or_default()
    }

    /// Takes all places, so that whoever enters now waits until `drop`.
    fn fill(&self) -> Vec<Permit> {
        let mut permits = Vec::new();
        loop {
            let mut waiting = self.enter("filler", "");
            match look(&mut waiting) {
                Poll::Ready(outcome) => permits.push(outcome.unwrap()),
                Poll::Pending => return permits,
            }
        }
    }
}

/// Which of `waiting` go, one after the other, each ending at once.
fn run_down(mut first: Vec<Permit>, waiting: Vec<(&'static str, Waiting)>) -> Vec<&'static str> {
    let mut waiting: Vec<_> = waiting.into_iter().map(Some).collect();
    let mut went = Vec::new();
    first.truncate(1);
    let mut permit = first.pop();
    while permit.take().is_some() {
        for slot in &mut waiting {
            let Some((name, future)) = slot else { continue };
            if let Poll::Ready(Ok(next)) = look(future) {
                went.push(*name);
                permit = Some(next);
                *slot = None;
            }
        }
    }
    went
}

fn look(waiting: &mut Waiting) -> Poll<Result<Permit, QueueEnd>> {
    Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop()))
}

fn admitted(waiting: &mut Waiting) -> Permit {
    match look(waiting) {
        Poll::Ready(Ok(permit)) => permit,
        other => panic!("{other:?}"),
    }
}

fn fair(pace: Pace) -> QueueConfig {
    QueueConfig {
        fairness: Some(FairnessConfig {
            pace,
            refresh_retries: 1,
            ..FairnessConfig::default()
        }),
        ..QueueConfig::off()
    }
}

fn permits(count: usize) -> QueueConfig {
    fair(Pace::Permits(NonZeroUsize::new(count).unwrap()))
}

fn boosted() -> QueueConfig {
    QueueConfig {
        boost: Some(BoostConfig {
            in_flight_per_pod: NonZeroU32::MIN,
            ..BoostConfig::default()
        }),
        ..QueueConfig::off()
    }
}

fn both() -> QueueConfig {
    QueueConfig {
        boost: boosted().boost,
        ..permits(1)
    }
}

#[test]
fn an_idle_queue_lets_the_first_go_at_once_and_holds_no_permit() {
    let scene = Scene::new(permits(2));
    let mut one = scene.enter("ann", "");
    let permit = admitted(&mut one);
    assert_eq!(scene.counts().in_flight, 1);
    drop(permit);
    let counts = scene.counts();
    assert_eq!(
        (counts.in_flight, counts.waiting, counts.admitted),
        (0, 0, 1)
    );
}

#[test]
fn permits_bound_what_is_in_flight_and_endings_wake_the_next() {
    let scene = Scene::new(permits(1));
    let first = admitted(&mut scene.enter("ann", ""));
    let mut second = scene.enter("bob", "");
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    assert!(
        Pin::new(&mut second)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert_eq!(bell.0.load(Ordering::Relaxed), 0);
    drop(first);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    drop(admitted(&mut second));
    assert_eq!(scene.counts().in_flight, 0);
}

#[test]
fn users_go_by_what_they_had_and_each_in_order() {
    let scene = Scene::new(permits(1));
    scene.queues.record("ann", "llama", 500, 0).unwrap();
    scene.queues.record("bob", "llama", 100, 0).unwrap();
    let places = scene.fill();
    let names = [
        ("ann-1", "ann"),
        ("nobody", ""),
        ("bob-1", "bob"),
        ("ann-2", "ann"),
        ("eve", "eve"),
        ("bob-2", "bob"),
    ];
    let waiting = names.map(|(name, user)| (name, scene.enter(user, "")));
    let went = run_down(places, waiting.into());
    assert_eq!(went, ["eve", "bob-1", "bob-2", "ann-1", "ann-2", "nobody"]);
}

#[test]
fn consumption_while_waiting_moves_a_user_back() {
    let scene = Scene::new(permits(1));
    let places = scene.fill();
    let waiting = vec![
        ("ann", scene.enter("ann", "")),
        ("bob", scene.enter("bob", "")),
    ];
    scene.queues.record("ann", "llama", 10, 10).unwrap();
    assert_eq!(scene.counts().refreshed, 1);
    assert_eq!(run_down(places, waiting), ["bob", "ann"]);
}

#[test]
fn consumption_that_falls_out_of_the_window_moves_a_user_forward() {
    let mut config = permits(1);
    let fairness = config.fairness.as_mut().unwrap();
    fairness.window = Duration::from_mins(1);
    fairness.timeout = Duration::from_hours(1);
    let scene = Scene::new(config);
    scene.queues.record("ann", "llama", 500, 0).unwrap();
    scene.wait(Duration::from_secs(40));
    scene.queues.record("bob", "llama", 100, 0).unwrap();
    let places = scene.fill();
    let waiting = vec![
        ("bob", scene.enter("bob", "")),
        ("ann", scene.enter("ann", "")),
    ];
    scene.wait(Duration::from_secs(30));
    assert_eq!(run_down(places, waiting), ["ann", "bob"]);
    assert_eq!(scene.counts().rebuilt, 1);
}

#[test]
fn what_other_routers_counted_counts() {
    let scene = Scene::new(permits(1));
    let places = scene.fill();
    let waiting = vec![
        ("ann", scene.enter("ann", "")),
        ("bob", scene.enter("bob", "")),
    ];
    let sum = scene.queues.weigh(100, 0).unwrap();
    scene.queues.set_elsewhere("ann", "llama", sum);
    assert_eq!(run_down(places, waiting), ["bob", "ann"]);
}

#[test]
fn the_number_of_requests_may_count_too() {
    let mut config = permits(1);
    let fairness = config.fairness.as_mut().unwrap();
    (fairness.token_priority, fairness.request_priority) = (1.0, 50.0);
    let scene = Scene::new(config);
    for _ in 0..3 {
        scene.queues.record("ann", "llama", 10, 0).unwrap();
    }
    scene.queues.record("bob", "llama", 100, 0).unwrap();
    let places = scene.fill();
    let waiting = vec![
        ("ann", scene.enter("ann", "")),
        ("bob", scene.enter("bob", "")),
    ];
    assert_eq!(run_down(places, waiting), ["bob", "ann"], "180 against 150");
}

#[rstest]
#[case::off(false, ["long", "short"])]
#[case::on(true, ["short", "long"])]
fn what_a_request_will_cost_counts_behind_its_switch(
    #[case] on: bool,
    #[case] expected: [&str; 2],
) {
    let mut config = permits(1);
    config.fairness.as_mut().unwrap().request_cost = on;
    let scene = Scene::new(config);
    let places = scene.fill();
    let ask = |user, input_tokens, max_output_tokens| {
        let ask = Ask {
            model: "llama",
            user,
            session: None,
            input_tokens,
            max_output_tokens,
        };
        scene.queues.enter(&ask).unwrap()
    };
    let waiting = vec![
        ("long", ask("ann", 10, 4000)),
        ("short", ask("bob", 10, 10)),
    ];
    assert_eq!(run_down(places, waiting), expected);
}

#[test]
fn models_have_queues_of_their_own() {
    let scene = Scene::new(permits(1));
    let _busy = admitted(&mut scene.enter("ann", ""));
    let mut other = scene
        .queues
        .enter(&Ask {
            model: "qwen",
            user: "ann",
            ..Ask::default()
        })
        .unwrap();
    drop(admitted(&mut other));
}

#[test]
fn a_model_without_a_route_gets_no_queue() {
    let scene = Scene::new(permits(1));
    let ask = Ask {
        model: "gpt-9",
        ..Ask::default()
    };
    assert_eq!(scene.queues.enter(&ask).unwrap_err(), Refused::UnknownModel);
    assert!(scene.queues.models().is_empty());
}

#[test]
fn waits_end_in_time_and_in_order_and_leave_no_trace() {
    let scene = Scene::new(permits(1));
    let places = scene.fill();
    let mut early = scene.enter("ann", "");
    scene.wait(Duration::from_secs(20));
    let mut late = scene.enter("bob", "");
    let due = scene.queues.run_due().unwrap();
    assert_eq!(due, lock(&scene.time).monotonic + Duration::from_secs(40));

    scene.wait(Duration::from_secs(40));
    scene.queues.run_due();
    assert!(matches!(
        look(&mut early),
        Poll::Ready(Err(QueueEnd::TimedOut))
    ));
    assert!(look(&mut late).is_pending());
    let counts = scene.counts();
    assert_eq!(
        (counts.waiting, counts.cancelled),
        (1, 2),
        "the filler left as well"
    );
    drop(places);
    drop(admitted(&mut late));
    assert_eq!(scene.counts().waits.buckets.iter().sum::<u64>(), 4);
}

#[test]
fn who_left_is_skipped() {
    let scene = Scene::new(permits(1));
    let places = scene.fill();
    let left = scene.enter("ann", "");
    let waiting = vec![("bob", scene.enter("bob", ""))];
    drop(left);
    assert_eq!(scene.counts().waiting, 1);
    assert_eq!(run_down(places, waiting), ["bob"]);
    assert_eq!(scene.counts().in_flight, 0);
}

#[test]
fn who_leaves_after_admission_gives_the_permit_to_the_next() {
    let scene = Scene::new(permits(1));
    let first = admitted(&mut scene.enter("ann", ""));
    let second = scene.enter("ann", "");
    let mut third = scene.enter("bob", "");
    drop(first);
    assert!(look(&mut third).is_pending(), "it is the second's");
    drop(second);
    drop(admitted(&mut third));
    let counts = scene.counts();
    assert_eq!((counts.in_flight, counts.waiting), (0, 0));
}

#[test]
fn closing_ends_waits_and_refuses_new_ones() {
    let scene = Scene::new(permits(1));
    let places = scene.fill();
    let mut waiting = scene.enter("ann", "");
    scene.queues.set_models(["qwen"]);
    assert!(matches!(
        look(&mut waiting),
        Poll::Ready(Err(QueueEnd::Closed))
    ));
    assert_eq!(
        scene.try_enter("ann", "").unwrap_err(),
        Refused::UnknownModel
    );
    drop(places);

    scene.queues.set_models(["llama"]);
    drop(admitted(&mut scene.enter("ann", "")));
}

#[test]
fn a_closed_queue_refuses_whoever_still_holds_it() {
    let scene = Scene::new(permits(1));
    let queue = scene.queues.queue("llama").unwrap();
    scene.queues.set_models(["qwen"]);
    assert_eq!(queue.enter("ann", None, 0.0).unwrap_err(), Refused::Closed);
}

#[test]
fn a_change_of_routes_that_keeps_the_name_keeps_the_queue() {
    let scene = Scene::new(permits(1));
    let _places = scene.fill();
    let mut waiting = scene.enter("ann", "");
    scene.queues.set_models(["llama", "new"]);
    assert!(look(&mut waiting).is_pending());
}

#[test]
fn a_full_queue_refuses_with_the_time_of_a_wait() {
    let mut config = permits(1);
    config.max_waiting = NonZeroUsize::new(1).unwrap();
    let scene = Scene::new(config);
    let first = admitted(&mut scene.enter("ann", ""));
    let mut second = scene.enter("bob", "");
    let retry_after = Duration::from_secs(1);
    assert_eq!(
        scene.try_enter("eve", "").unwrap_err(),
        Refused::Full { retry_after }
    );

    scene.wait(Duration::from_secs(7));
    drop(first);
    let _permit = admitted(&mut second);
    let _third = scene.enter("ann", "");
    let retry_after = Duration::from_secs(7);
    assert_eq!(
        scene.try_enter("eve", "").unwrap_err(),
        Refused::Full { retry_after }
    );
    assert_eq!(scene.counts().refused, 2);
}

#[test]
fn a_rate_wakes_its_waiters_by_the_clock() {
    let scene = Scene::new(fair(Pace::Rate(NonZeroU32::new(10).unwrap())));
    drop(admitted(&mut scene.enter("ann", "")));
    let mut second = scene.enter("ann", "");
    assert!(look(&mut second).is_pending());
    let due = scene.queues.run_due().unwrap();
    assert_eq!(
        due,
        lock(&scene.time).monotonic + Duration::from_millis(100)
    );
    scene.wait(Duration::from_millis(100));
    scene.queues.run_due();
    drop(admitted(&mut second));
    assert_eq!(scene.queues.run_due(), None, "nobody waits, nothing is due");
}

#[test]
fn the_task_that_watches_the_time_is_told_when_it_must_look_earlier() {
    let scene = Scene::new(fair(Pace::Rate(NonZeroU32::new(10).unwrap())));
    assert_eq!(scene.queues.run_due(), None);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut rung = Box::pin(scene.queues.rung());
    let mut cx = Context::from_waker(&waker);
    assert!(rung.as_mut().poll(&mut cx).is_pending());
    drop(admitted(&mut scene.enter("ann", "")));
    assert_eq!(bell.0.load(Ordering::Relaxed), 0);
    let _waits = scene.enter("ann", "");
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert!(rung.as_mut().poll(&mut cx).is_ready());
    assert!(scene.queues.run_due().is_some());
    let mut again = Box::pin(scene.queues.rung());
    assert!(again.as_mut().poll(&mut cx).is_pending());
    let _later = scene.enter("bob", "");
    assert_eq!(
        bell.0.load(Ordering::Relaxed),
        1,
        "it looks early enough for that one"
    );
}

/// Lets a request of the session run and end well.
fn serve(scene: &Scene, user: &str, session: &str) {
    admitted(&mut scene.enter(user, session)).complete();
}

#[test]
fn recent_sessions_go_first_the_latest_before_others() {
    let scene = Scene::new(boosted());
    for session in ["a", "b"] {
        serve(&scene, "", session);
        scene.wait(Duration::from_secs(1));
    }
    let places = scene.fill();
    let names = ["plain", "a", "b", ""];
    let waiting = names.map(|session| (session, scene.enter("", session)));
    assert_eq!(run_down(places, waiting.into()), ["b", "a", "plain", ""]);
}

#[test]
fn only_what_was_answered_well_makes_a_session_recent() {
    let scene = Scene::new(boosted());
    drop(admitted(&mut scene.enter("", "failed")));
    let places = scene.fill();
    let waiting = ["plain", "failed"].map(|session| (session, scene.enter("", session)));
    assert_eq!(run_down(places, waiting.into()), ["plain", "failed"]);
}

#[test]
fn a_session_is_its_users_alone() {
    let scene = Scene::new(boosted());
    serve(&scene, "ann", "a");
    let places = scene.fill();
    let waiting = vec![
        ("bob", scene.enter("bob", "a")),
        ("ann", scene.enter("ann", "a")),
    ];
    assert_eq!(run_down(places, waiting), ["ann", "bob"]);
}

#[test]
fn without_fairness_users_play_no_role() {
    let scene = Scene::new(boosted());
    scene.queues.record("ann", "llama", 1000, 0).unwrap();
    let places = scene.fill();
    let waiting = vec![
        ("ann", scene.enter("ann", "")),
        ("bob", scene.enter("bob", "")),
    ];
    assert_eq!(run_down(places, waiting), ["ann", "bob"]);
}

#[test]
fn a_measurement_opens_a_gate_that_nothing_else_would() {
    let scene = Scene::new(boosted());
    serve(&scene, "", "");
    scene
        .queues
        .set_engines("llama", Engines { pods: 1, idle: 0 });
    let mut waiting = scene.enter("", "");
    assert!(look(&mut waiting).is_pending());
    assert_eq!(scene.counts().in_flight, 0);
    scene
        .queues
        .set_engines("llama", Engines { pods: 1, idle: 1 });
    drop(admitted(&mut waiting));
}

#[test]
fn who_leaves_behind_a_closed_gate_is_gone_at_once() {
    let scene = Scene::new(boosted());
    serve(&scene, "", "");
    scene
        .queues
        .set_engines("llama", Engines { pods: 1, idle: 0 });
    let leaving: Vec<_> = (0..5).map(|_| scene.enter("", "")).collect();
    assert_eq!(scene.counts().waiting, 5);
    drop(leaving);
    let counts = scene.counts();
    assert_eq!(
        (counts.waiting, counts.cancelled, counts.in_flight),
        (0, 5, 0)
    );
}

#[rstest]
#[case::with_its_next_request(true, ["follow-up", "plain"])]
#[case::without(false, ["plain", "follow-up"])]
fn grace_keeps_the_place_for_the_session(#[case] follows: bool, #[case] expected: [&str; 2]) {
    let mut config = boosted();
    config.boost.as_mut().unwrap().grace = Duration::from_millis(50);
    let scene = Scene::new(config);
    let served = admitted(&mut scene.enter("", "chat"));
    let mut plain = scene.enter("", "plain");
    served.complete();
    assert!(look(&mut plain).is_pending());
    if !follows {
        scene.wait(Duration::from_millis(50));
        scene.queues.run_due();
    }
    let mut follow_up = scene.enter("", "chat");
    assert!(look(&mut follow_up).is_pending());
    scene.wait(Duration::from_millis(50));
    scene.queues.run_due();

    let mut names = vec![("plain", plain), ("follow-up", follow_up)];
    let mut went = Vec::new();
    while !names.is_empty() {
        let next = names
            .iter_mut()
            .position(|(_, waiting)| match look(waiting) {
                Poll::Ready(Ok(permit)) => {
                    drop(permit);
                    true
                }
                _ => false,
            });
        let next = next.expect("somebody goes");
        went.push(names.remove(next).0);
        scene.wait(Duration::from_millis(50));
        scene.queues.run_due();
    }
    assert_eq!(went, expected);
}

#[test]
fn without_a_pending_ending_an_arrival_is_served_at_once() {
    let mut config = boosted();
    config.boost.as_mut().unwrap().grace = Duration::from_secs(10);
    let scene = Scene::new(config);
    serve(&scene, "", "a");
    scene.wait(Duration::from_secs(10));
    drop(admitted(&mut scene.enter("", "b")));
}

#[test]
fn together_users_go_by_consumption_and_their_own_requests_by_session() {
    let scene = Scene::new(both());
    serve(&scene, "ann", "chat");
    scene.queues.record("ann", "llama", 100, 0).unwrap();
    let places = scene.fill();
    let names = [
        ("ann-plain", "ann", ""),
        ("ann-chat", "ann", "chat"),
        ("bob", "bob", ""),
        ("nobody", "", "chat"),
    ];
    let waiting = names.map(|(name, user, session)| (name, scene.enter(user, session)));
    assert_eq!(
        run_down(places, waiting.into()),
        ["bob", "ann-chat", "ann-plain", "nobody"]
    );
}

/// Admission by an ending and abandonment at the same moment, either way round.
#[test]
fn two_thousand_races_of_admission_and_abandonment_leak_nothing() {
    let scene = Scene::new(permits(1));
    for round in 0..2000 {
        let holder = admitted(&mut scene.enter("ann", ""));
        let leaving = scene.enter("bob", "");
        let mut staying = scene.enter("eve", "");
        std::thread::scope(|scope| {
            if round % 2 == 0 {
                scope.spawn(move || drop(holder));
                scope.spawn(move || drop(leaving));
            } else {
                scope.spawn(move || drop(leaving));
                scope.spawn(move || drop(holder));
            }
        });
        drop(admitted(&mut staying));
        let counts = scene.counts();
        assert_eq!((counts.waiting, counts.in_flight), (0, 0), "round {round}");
    }
}

/// Blocks the thread until a request may go.
fn block_on(waiting: &mut Waiting) -> Result<Permit, QueueEnd> {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match Pin::new(&mut *waiting).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn many_threads_never_exceed_the_permits_and_all_are_served() {
    let scene = Scene::new(permits(3));
    let (running, most, served) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (scene, running, most, served) = (&scene, &running, &most, &served);
            scope.spawn(move || {
                let user = format!("user-{thread}");
                for round in 0..200 {
                    let mut waiting = scene.enter(&user, "");
                    if round % 7 == thread {
                        continue;
                    }
                    let permit = block_on(&mut waiting).unwrap();
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    scene.queues.record(&user, "llama", 1, 1).unwrap();
                    running.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 3);
    let counts = scene.counts();
    assert_eq!((counts.waiting, counts.in_flight), (0, 0));
    assert!(served.load(Ordering::Relaxed) >= 1000);
}

#[derive(Debug, Clone)]
enum Step {
    Enter(u8, u8),
    Leave(usize),
    End(usize, bool),
    Wait(u64),
    Measure(u32, u32),
    Charge(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u8..4, 0_u8..4).prop_map(|(user, session)| Step::Enter(user, session)),
        2 => (0_usize..64).prop_map(Step::Leave),
        4 => (0_usize..64, any::<bool>()).prop_map(|(at, well)| Step::End(at, well)),
        2 => (1_u64..9000).prop_map(Step::Wait),
        1 => (0_u32..3, 0_u32..3).prop_map(|(pods, idle)| Step::Measure(pods, idle.min(pods))),
        1 => (0_u8..4).prop_map(Step::Charge),
    ];
    proptest::collection::vec(step, 0..200)
}

fn configs() -> impl Strategy<Value = QueueConfig> {
    prop_oneof![
        Just(permits(2)),
        Just(fair(Pace::Rate(NonZeroU32::new(2).unwrap()))),
        Just(boosted()),
        Just(both()),
    ]
}

proptest! {
    /// Counts are those of the handles that exist, and nobody waits while the gate is open or their time is up.
    #[test]
    fn counts_are_true_and_nobody_is_stranded(config in configs(), steps in steps()) {
        let scene = Scene::new(config);
        let (mut waiting, mut running) = (Vec::new(), Vec::new());
        let mut ended = 0;
        for step in steps {
            match step {
                Step::Enter(user, session) => {
                    let user = ["", "ann", "bob", "eve"][usize::from(user)];
                    let session = ["", "a", "b", "c"][usize::from(session)];
                    waiting.push(scene.enter(user, session));
                }
                Step::Leave(at) if !waiting.is_empty() => drop(waiting.swap_remove(at % waiting.len())),
                Step::End(at, well) if !running.is_empty() => {
                    let permit: Permit = running.swap_remove(at % running.len());
                    if well { permit.complete() } else { drop(permit) }
                }
                Step::Wait(millis) => scene.wait(Duration::from_millis(millis)),
                Step::Measure(pods, idle) => scene.queues.set_engines("llama", Engines { pods, idle }),
                Step::Charge(user) => drop(scene.queues.record(["", "ann", "bob", "eve"][usize::from(user)], "llama", 5, 5)),
                Step::Leave(_) | Step::End(..) => {}
            }
            scene.queues.run_due();
            waiting.retain_mut(|one| match look(one) {
                Poll::Pending => true,
                Poll::Ready(Ok(permit)) => { running.push(permit); false }
                Poll::Ready(Err(_)) => { ended += 1; false }
            });
            let counts = scene.counts();
            prop_assert_eq!(counts.waiting, waiting.len() as u64);
            prop_assert_eq!(counts.in_flight, running.len() as u64);
        }
        // Once all engines are idle and everything ends, the rest goes or runs out of time.
        scene.queues.set_engines("llama", Engines { pods: 1, idle: 1 });
        for _ in 0..2000 {
            if waiting.is_empty() { break; }
            running.clear();
            scene.wait(Duration::from_millis(500));
            scene.queues.run_due();
            waiting.retain_mut(|one| match look(one) {
                Poll::Pending => true,
                Poll::Ready(Ok(permit)) => { running.push(permit); false }
                Poll::Ready(Err(_)) => false,
            });
        }
        prop_assert!(waiting.is_empty(), "somebody is stranded");
        running.clear();
        let counts = scene.counts();
        prop_assert_eq!((counts.waiting, counts.in_flight), (0, 0));
        prop_assert!(ended <= counts.cancelled);
    }
}
