//! Whose requests go first.

use rstest::rstest;

use super::*;

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
        scene.queues.enter(&ask, Engines::default).unwrap()
    };
    let waiting = vec![
        ("long", ask("ann", 10, 4000)),
        ("short", ask("bob", 10, 10)),
    ];
    assert_eq!(run_down(places, waiting), expected);
}
