use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::settings::{BoostConfig, FairnessConfig};

fn fair(pace: Pace) -> QueueConfig {
    QueueConfig {
        fairness: Some(FairnessConfig {
            pace,
            ..FairnessConfig::default()
        }),
        ..QueueConfig::off()
    }
}

fn boosted(per_pod: u32, grace_ms: u64) -> QueueConfig {
    QueueConfig {
        boost: Some(BoostConfig {
            in_flight_per_pod: NonZeroU32::new(per_pod).unwrap(),
            grace: Duration::from_millis(grace_ms),
            ..BoostConfig::default()
        }),
        ..QueueConfig::off()
    }
}

fn rate(per_second: u32) -> Gate {
    Gate::new(&fair(Pace::Rate(NonZeroU32::new(per_second).unwrap())))
}

/// Admits whatever may go at `now`, at most 100.
fn flood(gate: &mut Gate, now: Instant) -> usize {
    let mut admitted = 0;
    while admitted < 100 && gate.opening(now) == Opening::Open {
        gate.admit(now);
        admitted += 1;
    }
    admitted
}

#[test]
fn a_rate_admits_one_by_one() {
    let start = Instant::now();
    let mut gate = rate(10);
    assert_eq!(flood(&mut gate, start), 1);
    let due = start + Duration::from_millis(100);
    assert_eq!(gate.opening(start), Opening::At(due));
    assert_eq!(flood(&mut gate, due), 1);
}

#[test]
fn a_pause_is_not_made_up_for_but_a_late_timer_is() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut gate = rate(10);
    assert_eq!(flood(&mut gate, at(0)), 1);
    assert_eq!(flood(&mut gate, at(130)), 1);
    assert_eq!(gate.opening(at(130)), Opening::At(at(200)));
    assert_eq!(flood(&mut gate, at(5000)), 1);
    assert_eq!(gate.opening(at(5000)), Opening::At(at(5100)));
}

#[test]
fn the_fastest_rate_is_none_at_all() {
    let mut gate = rate(u32::MAX);
    assert_eq!(flood(&mut gate, Instant::now()), 100);
}

#[test]
fn permits_bound_what_is_in_flight() {
    let now = Instant::now();
    let mut gate = Gate::new(&fair(Pace::Permits(NonZeroUsize::new(3).unwrap())));
    assert_eq!(flood(&mut gate, now), 3);
    assert_eq!(gate.opening(now), Opening::Later);
    gate.release(now);
    assert_eq!(flood(&mut gate, now), 1);
    (0..10).for_each(|_| gate.release(now));
    assert_eq!(gate.in_flight(), 0, "never below nothing");
}

#[test]
fn engines_bound_what_is_in_flight_and_close_the_gate_when_all_are_behind() {
    let now = Instant::now();
    let mut gate = Gate::new(&boosted(2, 0));
    assert_eq!(flood(&mut gate, now), 2, "no pods known: as for one");
    assert!(gate.set_engines(Engines { pods: 3, idle: 1 }));
    assert_eq!(flood(&mut gate, now), 4);
    (0..6).for_each(|_| gate.release(now));
    gate.set_engines(Engines { pods: 3, idle: 0 });
    assert_eq!(gate.opening(now), Opening::Later);
    gate.set_engines(Engines { pods: 0, idle: 0 });
    assert_eq!(gate.opening(now), Opening::Open);
}

#[test]
fn grace_holds_after_an_ending_only() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut gate = Gate::new(&boosted(2, 50));
    assert_eq!(flood(&mut gate, start), 2, "nothing has ended yet");
    gate.release(at(10));
    assert_eq!(gate.opening(at(10)), Opening::At(at(60)));
    gate.release(at(30));
    assert_eq!(
        gate.opening(at(30)),
        Opening::At(at(60)),
        "the first wait serves both"
    );
    assert_eq!(flood(&mut gate, at(60)), 2);
    gate.release(at(70));
    assert_eq!(gate.opening(at(70)), Opening::At(at(120)));
    // It passed without anybody waiting: the next ending begins another.
    gate.release(at(500));
    assert_eq!(gate.opening(at(500)), Opening::At(at(550)));
}

#[test]
fn with_both_strategies_every_gate_must_be_open() {
    let now = Instant::now();
    let config = QueueConfig {
        boost: boosted(16, 0).boost,
        ..fair(Pace::Permits(NonZeroUsize::new(2).unwrap()))
    };
    let mut gate = Gate::new(&config);
    assert_eq!(flood(&mut gate, now), 2);
    gate.release(now);
    gate.set_engines(Engines { pods: 1, idle: 0 });
    assert_eq!(gate.opening(now), Opening::Later);
}
