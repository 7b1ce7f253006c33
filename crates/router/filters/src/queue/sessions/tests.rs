use std::time::Duration;

use super::*;

fn key(user: &str, id: &str) -> SessionKey {
    SessionKey::new(user, id).unwrap()
}

#[test]
fn the_longest_ago_is_forgotten_and_asking_does_not_change_that() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut sessions = Sessions::new(NonZeroUsize::new(2).unwrap());
    sessions.complete(&key("ann", "a"), at(1));
    sessions.complete(&key("ann", "b"), at(2));
    assert_eq!(sessions.completed(&key("ann", "a")), Some(at(1)));
    sessions.complete(&key("ann", "c"), at(3));
    assert_eq!(sessions.completed(&key("ann", "a")), None);

    sessions.complete(&key("ann", "b"), at(4));
    sessions.complete(&key("ann", "d"), at(5));
    assert_eq!(sessions.completed(&key("ann", "c")), None);
    assert_eq!(sessions.completed(&key("ann", "b")), Some(at(4)));
    assert_eq!(sessions.order.len(), sessions.completed.len());
}

#[test]
fn the_same_id_of_another_user_is_another_session() {
    let mut sessions = Sessions::new(NonZeroUsize::new(2).unwrap());
    sessions.complete(&key("ann", "a"), Instant::now());
    assert_eq!(sessions.completed(&key("bob", "a")), None);
}

#[test]
fn ids_that_say_nothing_or_too_much_are_none() {
    assert_eq!(SessionKey::new("ann", ""), None);
    assert!(SessionKey::new("ann", &"x".repeat(256)).is_some());
    assert_eq!(SessionKey::new("ann", &"x".repeat(257)), None);
}
