use super::*;

#[test]
fn a_value_is_made_once_per_type() {
    let notes = Notes::default();
    let mut made = 0;
    for _ in 0..3 {
        let seen = notes.with(
            || {
                made += 1;
                7_u32
            },
            |value| {
                *value += 1;
                *value
            },
        );
        assert!(seen > 7);
    }
    assert_eq!(made, 1);
    assert_eq!(notes.with(|| 0_u32, |value| *value), 10);
    assert_eq!(notes.with(|| 5_u64, |value| *value), 5);
}

#[test]
fn notes_may_be_used_while_a_value_is_read() {
    let notes = Notes::default();
    let sum = notes.with(|| 1_u32, |one| *one + notes.with(|| 2_u32, |two| *two));
    assert_eq!(sum, 3);
}

#[test]
fn events_are_taken_once() {
    let notes = Notes::default();
    notes.tell(PluginEvent::PrefixMatch(0.5));
    notes.tell(PluginEvent::KvMatch(1.0));
    assert_eq!(
        notes.take_events().as_slice(),
        [PluginEvent::PrefixMatch(0.5), PluginEvent::KvMatch(1.0)]
    );
    assert!(notes.take_events().is_empty());
}
