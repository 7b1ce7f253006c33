use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};
use std::time::Duration;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn watched() -> (Arc<Watchdog>, Arc<Woken>) {
    let (watchdog, woken) = (Arc::new(Watchdog::new()), Arc::new(Woken::default()));
    watchdog.silence().wake_by(Waker::from(Arc::clone(&woken)));
    (watchdog, woken)
}

/// The worker looks each second up to this one.
fn look_until(watchdog: &Watchdog, from: u64, to: u64) {
    for second in from..=to {
        watchdog.silence().look(at(second), LIMIT);
    }
}

#[test]
fn an_engine_that_says_nothing_is_given_up_and_its_task_runs() {
    let (watchdog, woken) = watched();
    let attention = Attention::begin(&watchdog);

    look_until(&watchdog, 0, 9);
    assert!(attention.check().is_ok());
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    look_until(&watchdog, 10, 10);

    assert!(is_silence(&attention.check().unwrap_err()));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn each_byte_starts_it_anew() {
    let (watchdog, _) = watched();
    let attention = Attention::begin(&watchdog);
    for start in [0, 9, 18, 27] {
        attention.heard();
        look_until(&watchdog, start, start + 8);
    }
    assert!(attention.check().is_ok());
    look_until(&watchdog, 36, 37);
    assert!(attention.check().is_err());
}

#[test]
fn time_in_which_nobody_waits_does_not_count() {
    let (watchdog, _) = watched();
    look_until(&watchdog, 0, 100);
    let attention = Attention::begin(&watchdog);
    look_until(&watchdog, 101, 109);
    drop(attention);
    look_until(&watchdog, 110, 200);
    let attention = Attention::begin(&watchdog);
    look_until(&watchdog, 201, 210);
    assert!(attention.check().is_ok());
}

#[test]
fn while_one_half_of_a_pair_speaks_the_other_may_think() {
    let (watchdog, _) = watched();
    let prefill = Attention::begin(&watchdog);
    let decode = Attention::begin(&watchdog);
    for second in 0..60 {
        prefill.heard();
        watchdog.silence().look(at(second), LIMIT);
    }
    assert!(decode.check().is_ok());
    drop(prefill);
    look_until(&watchdog, 60, 70);
    assert!(decode.check().is_err());
}

#[test]
fn the_next_request_begins_with_a_clean_sheet() {
    let (watchdog, _) = watched();
    let attention = Attention::begin(&watchdog);
    look_until(&watchdog, 0, 10);
    drop(attention);

    let attention = Attention::begin(&watchdog);
    look_until(&watchdog, 11, 20);

    assert!(attention.check().is_ok());
}

#[test]
fn a_dead_connection_is_not_silence() {
    // ETIMEDOUT, which keepalive probes end in.
    let dead = io::Error::from_raw_os_error(110);
    assert_eq!(dead.kind(), io::ErrorKind::TimedOut);
    assert!(!is_silence(&dead));
}
