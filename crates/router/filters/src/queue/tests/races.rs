//! Many at once, in any order.

use proptest::prelude::*;

use super::*;

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
