use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{MAX_MESSAGE, Wanted, find, holds, says, set, withdraw};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("is a time")
}

const READY: Wanted<'static> = Wanted {
    kind: "Ready",
    holds: true,
    reason: "Fine",
    message: "all is well",
    observed_generation: Some(1),
};

#[test]
fn setting_twice_changes_nothing() {
    let mut conditions = Vec::new();

    assert!(set(&mut conditions, &READY, at(1)));
    assert!(!set(&mut conditions, &READY, at(2)));
    assert_eq!(conditions[0].last_transition_time, Time(at(1)));
}

#[test]
fn only_a_change_of_status_moves_the_time() {
    let mut conditions = Vec::new();
    set(&mut conditions, &READY, at(1));

    assert!(set(
        &mut conditions,
        &Wanted {
            message: "still well",
            ..READY
        },
        at(2)
    ));
    assert_eq!(conditions[0].last_transition_time, Time(at(1)));
    assert_eq!(conditions[0].message, "still well");

    assert!(set(
        &mut conditions,
        &Wanted {
            holds: false,
            ..READY
        },
        at(3)
    ));
    assert_eq!(conditions[0].last_transition_time, Time(at(3)));
    assert!(!holds(&conditions, "Ready"));
}

#[test]
fn conditions_keep_their_order() {
    let mut conditions = Vec::new();
    for kind in ["A", "B", "C"] {
        set(&mut conditions, &Wanted { kind, ..READY }, at(1));
    }
    set(
        &mut conditions,
        &Wanted {
            kind: "B",
            holds: false,
            ..READY
        },
        at(2),
    );

    let kinds: Vec<&str> = conditions
        .iter()
        .map(|condition| condition.type_.as_str())
        .collect();
    assert_eq!(kinds, ["A", "B", "C"]);
    assert!(find(&conditions, "D").is_none());
}

#[test]
fn long_messages_are_cut() {
    let mut conditions = Vec::new();
    set(
        &mut conditions,
        &Wanted {
            message: &"é".repeat(MAX_MESSAGE + 1),
            ..READY
        },
        at(1),
    );

    assert_eq!(conditions[0].message.chars().count(), MAX_MESSAGE);
    assert!(says(&conditions, "Ready", &"é".repeat(MAX_MESSAGE + 2)));
}

#[test]
fn times_are_whole_seconds() {
    let mut conditions = Vec::new();
    set(
        &mut conditions,
        &READY,
        at(1) + SignedDuration::from_millis(900),
    );

    assert_eq!(conditions[0].last_transition_time, Time(at(1)));
}

#[test]
fn what_is_withdrawn_keeps_its_words() {
    let mut conditions = Vec::new();
    assert!(!withdraw(&mut conditions, "Ready", Some(1), at(1)));
    assert!(conditions.is_empty());
    set(&mut conditions, &READY, at(1));

    assert!(withdraw(&mut conditions, "Ready", Some(2), at(2)));
    let found = &conditions[0];
    assert_eq!(
        (found.status.as_str(), found.reason.as_str()),
        ("False", READY.reason)
    );
    assert_eq!(
        (found.message.as_str(), found.observed_generation),
        (READY.message, Some(2))
    );
    assert_eq!(found.last_transition_time, Time(at(2)));
    assert!(!withdraw(&mut conditions, "Ready", Some(2), at(3)));
}

#[test]
fn only_what_holds_says_something() {
    let mut conditions = Vec::new();
    assert!(!says(&conditions, "Ready", READY.message));
    set(&mut conditions, &READY, at(1));

    assert!(says(&conditions, "Ready", READY.message));
    assert!(!says(&conditions, "Ready", "something else"));
    withdraw(&mut conditions, "Ready", None, at(2));
    assert!(!says(&conditions, "Ready", READY.message));
}
