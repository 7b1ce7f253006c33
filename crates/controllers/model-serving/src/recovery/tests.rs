use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use kthena_api::model_serving::RecoveryPolicy;
use rstest::rstest;

use crate::plan::Action;
use crate::testing::{Sim, role, serving};
use crate::view::PodPhase;

fn sim(policy: RecoveryPolicy) -> Sim {
    let mut object = serving(2, &[role("prefill", 2, 1), role("decode", 1, 0)]);
    object.spec.recovery_policy = Some(policy);
    Sim::settled(object)
}

fn deleted(sim: &Sim) -> BTreeSet<String> {
    let plan = sim.plan();
    let names = plan.actions.iter().filter_map(|action| match action {
        Action::DeletePod { name, .. } => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[rstest]
#[case::role(RecoveryPolicy::RoleRecreate, &["sample-0-prefill-1-0", "sample-0-prefill-1-1"])]
#[case::group(RecoveryPolicy::ServingGroupRecreate, &[
    "sample-0-decode-0-0", "sample-0-prefill-0-0", "sample-0-prefill-0-1", "sample-0-prefill-1-0",
    "sample-0-prefill-1-1"])]
#[case::pod(RecoveryPolicy::None, &["sample-0-prefill-1-1"])]
fn r57_r58_a_failed_pod_takes_the_unit_of_the_policy_along(
    #[case] policy: RecoveryPolicy,
    #[case] expected: &[&str],
    #[values(PodPhase::Failed, PodPhase::Succeeded)] phase: PodPhase,
) {
    let mut sim = sim(policy);
    let pod = sim.pod("sample-0-prefill-1-1");
    pod.phase = phase;
    pod.is_ready = false;
    assert_eq!(deleted(&sim), names(expected));
}

#[test]
fn r57_a_restart_is_a_failure_only_while_the_pod_is_not_ready() {
    let mut sim = sim(RecoveryPolicy::RoleRecreate);
    sim.pod("sample-0-decode-0-0").restarts = 1;
    sim.step();
    assert!(deleted(&sim).is_empty(), "it is ready again");

    sim.pod("sample-0-decode-0-0").is_ready = false;
    assert!(deleted(&sim).is_empty(), "an old restart is forgiven");

    sim.pod("sample-0-decode-0-0").restarts = 2;
    assert_eq!(deleted(&sim), names(&["sample-0-decode-0-0"]));
}

#[test]
fn r59_without_a_policy_restarts_are_left_to_the_kubelet() {
    let mut sim = sim(RecoveryPolicy::None);
    let pod = sim.pod("sample-0-decode-0-0");
    pod.restarts = 3;
    pod.is_ready = false;
    assert!(deleted(&sim).is_empty());
}

#[test]
fn r58_the_grace_period_is_waited_for_and_a_recovered_pod_is_spared() {
    let mut sim = sim(RecoveryPolicy::RoleRecreate);
    sim.edit(|serving| serving.spec.template.restart_grace_period_seconds = Some(10));
    sim.step();
    sim.pod("sample-0-decode-0-0").restarts = 1;
    sim.pod("sample-0-decode-0-0").is_ready = false;

    assert_eq!(sim.step().requeue_after, Some(Duration::from_secs(10)));
    sim.wait(Duration::from_secs(4));
    assert_eq!(sim.step().requeue_after, Some(Duration::from_secs(6)));
    sim.pod("sample-0-decode-0-0").is_ready = true;
    sim.wait(Duration::from_mins(1));
    assert!(deleted(&sim).is_empty());
    sim.step();

    sim.pod("sample-0-decode-0-0").restarts = 2;
    sim.pod("sample-0-decode-0-0").is_ready = false;
    sim.step();
    sim.wait(Duration::from_secs(10));
    assert_eq!(
        deleted(&sim),
        names(&["sample-0-decode-0-0"]),
        "a new failure has a grace period of its own"
    );
}

#[rstest]
#[case::back(-1)]
#[case::forward(1)]
fn a_clock_that_is_set_changes_no_grace_period(#[case] hours: i64) {
    let mut sim = sim(RecoveryPolicy::RoleRecreate);
    sim.edit(|serving| serving.spec.template.restart_grace_period_seconds = Some(10));
    sim.step();
    sim.pod("sample-0-decode-0-0").restarts = 1;
    sim.pod("sample-0-decode-0-0").is_ready = false;
    sim.step();

    sim.wait(Duration::from_secs(4));
    sim.now.wall += SignedDuration::from_hours(hours);
    assert_eq!(sim.step().requeue_after, Some(Duration::from_secs(6)));
    assert!(deleted(&sim).is_empty());
    sim.wait(Duration::from_secs(6));
    assert_eq!(deleted(&sim), names(&["sample-0-decode-0-0"]));
}

#[rstest]
#[case(RecoveryPolicy::RoleRecreate)]
#[case(RecoveryPolicy::ServingGroupRecreate)]
fn r60_what_the_controller_deletes_is_no_loss(
    #[case] policy: RecoveryPolicy,
    #[values(false, true)] is_graceful: bool,
) {
    let mut sim = sim(policy);
    sim.is_graceful = is_graceful;
    let before = sim.uids();
    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(1));
    sim.settle();

    let after = sim.uids();
    assert_eq!(after.len(), 6);
    assert!(
        after.iter().all(|(name, uid)| before[name] == *uid),
        "nothing else is touched"
    );
}

#[test]
fn r60_a_pod_stuck_terminating_keeps_its_place() {
    let mut sim = sim(RecoveryPolicy::RoleRecreate);
    sim.pod("sample-0-decode-0-0").is_terminating = true;
    for _ in 0..3 {
        sim.step();
    }
    assert_eq!(
        sim.names()
            .iter()
            .filter(|name| name.starts_with("sample-0-decode"))
            .count(),
        1
    );
    assert!(sim.plan().actions.is_empty());
}

#[test]
fn r61_what_is_rebuilt_has_the_old_names() {
    let mut sim = sim(RecoveryPolicy::RoleRecreate);
    let before = sim.uids();
    sim.pods.remove("sample-1-prefill-0-1");
    sim.settle();

    let after = sim.uids();
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    let renewed: Vec<_> = after
        .iter()
        .filter(|(name, uid)| before[*name] != **uid)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(renewed, ["sample-1-prefill-0-0", "sample-1-prefill-0-1"]);
}

#[rstest]
#[case::role(RecoveryPolicy::RoleRecreate, &["sample-0-prefill-0-1"])]
#[case::group(RecoveryPolicy::ServingGroupRecreate, &[
    "sample-0-decode-0-0", "sample-0-prefill-0-1", "sample-0-prefill-1-0", "sample-0-prefill-1-1"])]
#[case::pod(RecoveryPolicy::None, &[])]
fn r94_a_deletion_found_at_the_start_is_finished(
    #[case] policy: RecoveryPolicy,
    #[case] expected: &[&str],
) {
    let mut sim = sim(policy);
    sim.pod("sample-0-prefill-0-0").is_terminating = true;
    sim.restart();
    assert_eq!(deleted(&sim), names(expected));
}

#[test]
fn r94_a_failed_pod_found_at_the_start_is_dealt_with() {
    let mut sim = sim(RecoveryPolicy::RoleRecreate);
    sim.pod("sample-0-decode-0-0").phase = PodPhase::Failed;
    sim.restart();
    assert_eq!(deleted(&sim), names(&["sample-0-decode-0-0"]));
}

#[test]
fn an_instance_that_never_runs_is_rebuilt_less_and_less_often() {
    let mut sim = sim(RecoveryPolicy::RoleRecreate);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let pod = sim.pod("sample-0-decode-0-0");
        pod.phase = PodPhase::Failed;
        pod.is_ready = false;
        let failed_at = sim.now.steady;
        while sim
            .pods
            .get("sample-0-decode-0-0")
            .is_some_and(|pod| pod.phase == PodPhase::Failed)
        {
            if let Some(delay) = sim.step().requeue_after {
                sim.wait(delay);
            }
        }
        waits.push(sim.now.steady.saturating_sub(failed_at).as_secs());
        sim.step();
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);

    sim.settle();
    sim.pod("sample-0-decode-0-0").phase = PodPhase::Failed;
    assert_eq!(
        deleted(&sim),
        names(&["sample-0-decode-0-0"]),
        "it ran in between"
    );
}
