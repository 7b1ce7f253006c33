use jiff::{SignedDuration, Timestamp};

use super::{Made, PairError, first, is_ours, names};

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

#[test]
fn c3_what_is_made_is_usable_for_the_names_of_the_service() {
    let names = names("hook", "kthena-system");
    assert_eq!(
        names,
        [
            "hook.kthena-system.svc",
            "hook.kthena-system.svc.cluster.local"
        ]
    );
    let made = Made::new(&names, now()).unwrap();
    assert_eq!(made.pair.fault(&names, now()), None);
    assert!(is_ours(&made.authority));
    assert!(
        !is_ours(&made.pair.certificate),
        "the certificate itself is no authority of ours"
    );
    assert!(!is_ours(""));
}

#[test]
fn c3_without_names_nothing_is_made() {
    assert!(matches!(Made::new(&[], now()), Err(PairError::NoNames)));
}

#[test]
fn w10_a_pair_that_ends_or_is_for_other_names_is_at_fault() {
    let names = names("hook", "ns");
    let pair = Made::new(&names, now()).unwrap().pair;
    let days = |days: i64| now() + SignedDuration::from_hours(24 * days);
    assert_eq!(pair.fault(&names, days(3600)), None);
    assert_eq!(
        pair.fault(&names, days(3625)).as_deref(),
        Some("it ends within 30 days")
    );
    let others = super::names("hook", "other");
    assert_eq!(
        pair.fault(&others, now()).as_deref(),
        Some("it is not for hook.other.svc")
    );
    let other = Made::new(&names, now()).unwrap().pair;
    let mixed = super::Pair {
        certificate: pair.certificate.clone(),
        key: other.key,
    };
    assert!(mixed.fault(&names, now()).is_some(), "the key of another");
}

#[test]
fn the_first_of_several_authorities_is_one_certificate() {
    let names = names("hook", "ns");
    let (one, two) = (
        Made::new(&names, now()).unwrap(),
        Made::new(&names, now()).unwrap(),
    );
    let both = format!("{}{}", one.authority, two.authority);
    assert_eq!(
        first(&both).trim(),
        one.authority.trim().replace("\r\n", "\n")
    );
    assert!(is_ours(&both));
}
