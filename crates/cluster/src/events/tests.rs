use std::time::Duration;

use tokio::time::Instant;

use super::correlate::{Correlator, Verdict};
use super::{Notice, Severity, Subject};
use crate::target::ObjectKey;

fn notice(name: &str, message: &str) -> Notice {
    Notice {
        subject: Subject {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            key: ObjectKey::new("default", name),
            uid: format!("uid-of-{name}"),
        },
        severity: Severity::Normal,
        reason: "RoleCreating".to_owned(),
        message: message.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn r90_a_repeat_raises_the_count_of_the_first() {
    let mut correlator = Correlator::default();
    let now = Instant::now();
    assert_eq!(correlator.admit(&notice("a", "x"), now), Verdict::First);
    correlator.written(&notice("a", "x"), "a.1".to_owned());

    assert_eq!(
        correlator.admit(&notice("a", "x"), now),
        Verdict::Repeat {
            name: "a.1".to_owned(),
            count: 2
        }
    );
    assert_eq!(correlator.admit(&notice("a", "y"), now), Verdict::First);
}

#[tokio::test(start_paused = true)]
async fn r90_each_object_has_its_own_budget() {
    let mut correlator = Correlator::default();
    let now = Instant::now();
    let admitted = (0..100)
        .filter(|n| correlator.admit(&notice("a", &n.to_string()), now) != Verdict::Drop)
        .count();

    assert_eq!(admitted, 25);
    assert_eq!(correlator.admit(&notice("b", "x"), now), Verdict::First);
    assert_eq!(
        correlator.admit(&notice("a", "late"), now + Duration::from_secs(301)),
        Verdict::First
    );
}

#[tokio::test(start_paused = true)]
async fn r90_an_event_that_the_server_forgot_is_written_anew() {
    let mut correlator = Correlator::default();
    let now = Instant::now();
    correlator.admit(&notice("a", "x"), now);
    correlator.written(&notice("a", "x"), "a.1".to_owned());
    correlator.lost(&notice("a", "x"));

    assert_eq!(correlator.admit(&notice("a", "x"), now), Verdict::First);
}
