use std::cell::Cell;
use std::time::Duration;

use super::{eventually, eventually_ok};

#[tokio::test]
async fn a_condition_is_asked_until_it_holds() {
    let asked = Cell::new(0);

    let value = eventually("the third answer", Duration::from_secs(30), || async {
        asked.set(asked.get() + 1);
        (asked.get() == 3).then_some("yes")
    });

    assert_eq!(value.await.unwrap(), "yes");
    assert_eq!(asked.get(), 3);
}

#[tokio::test]
async fn a_missed_deadline_names_the_condition_and_the_last_answer() {
    let missed = eventually_ok("the moon is green", Duration::ZERO, || async {
        Err::<(), _>("it is grey")
    });

    let text = missed.await.unwrap_err().to_string();

    assert_eq!(
        text,
        "the moon is green did not come true within 0ns; last seen: \"it is grey\""
    );
}
