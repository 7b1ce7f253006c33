//! Which sessions go first, and what holds them back.

use rstest::rstest;

use super::*;

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
fn the_first_request_of_a_model_goes_by_what_is_known_already() {
    let scene = Scene::new(boosted());
    let ask = Ask {
        model: "llama",
        ..Ask::default()
    };
    let mut waiting = scene
        .queues
        .enter(&ask, || Engines { pods: 1, idle: 0 })
        .unwrap();
    assert!(look(&mut waiting).is_pending());
    let idle = Engines { pods: 1, idle: 1 };
    scene.queues.set_engines("llama", idle);
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
