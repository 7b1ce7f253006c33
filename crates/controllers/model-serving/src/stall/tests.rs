use std::time::Duration;

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;

use crate::testing::{Sim, role, serving};

fn stalled(sim: &Sim) -> Option<(String, String)> {
    let conditions = sim.status().conditions.as_deref().unwrap_or_default();
    let condition = conditions.iter().find(|one| one.type_ == "Stalled")?;
    Some((condition.status.clone(), condition.message.clone()))
}

fn sim() -> Sim {
    let mut object = serving(2, &[role("a", 1, 0)]);
    object.spec.rollout_strategy = serde_json::from_value(json!({
        "type": "ServingGroupRollingUpdate", "progressDeadlineSeconds": 60,
    }))
    .unwrap();
    Sim::settled(object)
}

#[test]
fn a_rollout_without_progress_is_reported_after_the_deadline_and_taken_back_on_progress() {
    let mut sim = sim();
    assert_eq!(sim.plan().requeue_after, None, "no clock runs at rest");
    sim.edit_image("bad");
    sim.step();
    sim.step();
    assert_eq!(sim.step().requeue_after, Some(Duration::from_mins(1)));
    sim.wait(Duration::from_secs(59));
    sim.step();
    assert_eq!(stalled(&sim), None);

    sim.wait(Duration::from_secs(1));
    sim.step();
    let (status, message) = stalled(&sim).unwrap();
    assert_eq!(
        (status.as_str(), message.as_str()),
        ("True", "no progress for 60 s")
    );
    sim.wait(Duration::from_mins(10));
    assert!(sim.plan().status.is_none(), "told once");

    sim.ready_all();
    sim.step();
    assert_eq!(stalled(&sim).unwrap().0, "False");
}

#[test]
fn a_pause_stops_the_clock() {
    let mut sim = sim();
    sim.edit_image("bad");
    sim.step();
    sim.edit(|serving| {
        serving.spec.rollout_strategy.get_or_insert_default().paused = Some(true);
    });
    sim.step();
    sim.wait(Duration::from_mins(10));
    sim.step();
    assert_eq!(stalled(&sim), None);
}

#[rstest]
#[case::back(-1)]
#[case::forward(1)]
fn a_clock_that_is_set_moves_no_deadline(#[case] hours: i64) {
    let mut sim = sim();
    sim.edit_image("bad");
    for _ in 0..3 {
        sim.step();
    }

    sim.wait(Duration::from_secs(20));
    sim.now.wall += SignedDuration::from_hours(hours);
    assert_eq!(sim.step().requeue_after, Some(Duration::from_secs(40)));
    assert_eq!(stalled(&sim), None);
    sim.wait(Duration::from_secs(40));
    sim.step();

    assert_eq!(stalled(&sim).unwrap().0, "True");
}
