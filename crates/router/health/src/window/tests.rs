use proptest::prelude::*;

use super::*;

#[test]
fn an_old_slot_is_not_counted_after_a_round() {
    let window = Window::default();
    window.count(0, true);
    window.count(1, false);

    let at = |half| {
        let volume = window.volume(half);
        (volume.total, volume.failures)
    };
    assert_eq!(at(0), (1, 1));
    assert_eq!(at(1), (2, 1));
    assert_eq!(at(2), (1, 0));
    assert_eq!(at(3), (0, 0));
}

#[test]
fn counts_stop_at_their_limit_instead_of_spilling_over() {
    let window = Window::default();
    let full = Volume {
        total: COUNT_MAX,
        failures: COUNT_MAX,
    };
    window.slots[0].store(pack(4, full), Ordering::Relaxed);
    window.count(4, true);
    assert_eq!(window.volume(4), full);
}

#[test]
fn nothing_is_lost_between_threads() {
    let window = Window::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let window = &window;
            scope.spawn(move || (0..1000).for_each(|_| window.count(9, thread == 0)));
        }
    });
    assert_eq!(
        window.volume(9),
        Volume {
            total: 4000,
            failures: 1000
        }
    );
}

proptest! {
    #[test]
    fn agrees_with_a_list_of_all_outcomes(steps in proptest::collection::vec((0_u64..3, any::<bool>()), 0..200)) {
        let window = Window::default();
        let mut all = Vec::new();
        let mut half = 0;
        for (ahead, failed) in steps {
            half += ahead;
            window.count(half, failed);
            all.push((half, failed));
            let recent = all.iter().filter(|(at, _)| *at + 1 >= half);
            let expected = Volume {
                total: recent.clone().count() as u64,
                failures: recent.filter(|(_, failed)| *failed).count() as u64,
            };
            prop_assert_eq!(window.volume(half), expected);
        }
    }
}
