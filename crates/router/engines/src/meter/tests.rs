use super::{EngineState, Meter};
use crate::{Reading, Totals};

#[expect(clippy::unnecessary_wraps, reason = "readings hold them so")]
fn totals(sum: f64, count: f64) -> Option<Totals> {
    Some(Totals { sum, count })
}

#[test]
fn an_idle_engine_keeps_its_last_latency() {
    let mut meter = Meter::default();
    let mut reading = Reading {
        first_token: totals(1.0, 2.0),
        ..Reading::default()
    };
    meter.apply(&reading);
    reading.first_token = totals(3.0, 6.0);
    assert!((meter.apply(&reading).first_token - 0.5).abs() < 1e-9);
    assert!((meter.apply(&reading).first_token - 0.5).abs() < 1e-9);
}

#[test]
fn a_first_page_measures_no_latency() {
    let mut meter = Meter::default();
    let reading = Reading {
        first_token: totals(1.0, 2.0),
        next_token: totals(1.0, 2.0),
        ..Reading::default()
    };
    let state = meter.apply(&reading);
    assert!(state.first_token.abs() < f64::EPSILON);
    assert!(state.next_token.abs() < f64::EPSILON);
}

#[test]
fn what_a_page_does_not_say_stays() {
    let mut meter = Meter::default();
    meter.apply(&Reading {
        usage: Some(0.5),
        waiting: Some(3.0),
        running: Some(4.0),
        block_size: Some(16),
        blocks: Some(100),
        ..Reading::default()
    });
    let state = *meter.apply(&Reading {
        waiting: Some(1.0),
        ..Reading::default()
    });
    assert_eq!(
        state,
        EngineState {
            usage: 0.5,
            waiting: 1,
            running: 4,
            block_size: 16,
            blocks: 100,
            ..EngineState::default()
        }
    );
}

#[test]
fn a_restart_is_noticed() {
    let mut meter = Meter::default();
    let page = |sum, count| Reading {
        first_token: totals(sum, count),
        ..Reading::default()
    };
    assert_eq!(meter.apply(&page(9.0, 3.0)).restarts, 0);
    let state = meter.apply(&page(4.0, 2.0));
    assert_eq!(state.restarts, 1);
    assert!((state.first_token - 2.0).abs() < 1e-9);
    assert_eq!(meter.apply(&page(5.0, 3.0)).restarts, 1);
}

#[test]
fn the_hit_ratio_is_that_of_the_last_interval_with_lookups() {
    let mut meter = Meter::default();
    let page = |hit, queried| Reading {
        hit_tokens: Some(hit),
        queried_tokens: Some(queried),
        ..Reading::default()
    };
    meter.apply(&page(0.0, 100.0));
    assert!((meter.apply(&page(50.0, 200.0)).hit_ratio - 0.5).abs() < 1e-9);
    assert!((meter.apply(&page(50.0, 200.0)).hit_ratio - 0.5).abs() < 1e-9);
    assert!(meter.apply(&page(50.0, 300.0)).hit_ratio.abs() < 1e-9);
}

#[test]
fn prefill_speed_is_seconds_per_computed_token() {
    let mut meter = Meter::default();
    meter.apply(&Reading {
        prefill: totals(1.0, 1000.0),
        ..Reading::default()
    });
    let state = meter.apply(&Reading {
        prefill: totals(2.0, 3000.0),
        ..Reading::default()
    });
    assert!((state.prefill_per_token - 0.0005).abs() < 1e-9);
}

#[test]
fn absurd_counts_saturate() {
    let mut meter = Meter::default();
    let state = meter.apply(&Reading {
        waiting: Some(1e300),
        ..Reading::default()
    });
    assert_eq!(state.waiting, u32::MAX);
}
