mod fairness;
mod races;
mod sessions;

use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

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
        let ask = Ask {
            model: "llama",
            user,
            session: Some(session),
            ..Ask::default()
        };
        self.queues.enter(&ask, Engines::default)
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
fn models_have_queues_of_their_own() {
    let scene = Scene::new(permits(1));
    let _busy = admitted(&mut scene.enter("ann", ""));
    let ask = Ask {
        model: "qwen",
        user: "ann",
        ..Ask::default()
    };
    let mut other = scene.queues.enter(&ask, Engines::default).unwrap();
    drop(admitted(&mut other));
}

#[test]
fn a_model_without_a_route_gets_no_queue() {
    let scene = Scene::new(permits(1));
    let ask = Ask {
        model: "gpt-9",
        ..Ask::default()
    };
    let entered = scene.queues.enter(&ask, Engines::default);
    assert_eq!(entered.unwrap_err(), Refused::UnknownModel);
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
    let queue = scene.queues.queue("llama", Engines::default).unwrap();
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
