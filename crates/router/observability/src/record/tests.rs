use rstest::rstest;

use super::*;

/// Stations in milliseconds after the start; the request ends after 100.
#[rstest]
#[case::answered(Some(10), Some(30), Some(90), [10, 60, 10])]
#[case::waited_for_its_turn(Some(10), Some(85), Some(100), [10, 15, 0])]
#[case::broke_off_while_engines_worked(Some(10), Some(30), None, [10, 70, 0])]
#[case::nowhere_to_go(Some(10), None, Some(99), [10, 90, 0])]
#[case::body_could_not_be_read(None, None, Some(99), [100, 0, 0])]
#[case::cut_off_at_once(None, None, None, [100, 0, 0])]
fn phases(
    #[case] measured: Option<u64>,
    #[case] dispatched: Option<u64>,
    #[case] answered: Option<u64>,
    #[case] expected: [u64; 3],
) {
    let started = Instant::now();
    let after = |millis| started + Duration::from_millis(millis);
    let marks = Marks {
        started,
        measured: measured.map(after),
        dispatched: dispatched.map(after),
        answered: answered.map(after),
        ended: after(100),
    };

    let [request, upstream, response] = expected.map(Duration::from_millis);
    let wanted = Phases {
        total: Duration::from_millis(100),
        request,
        upstream,
        response,
    };
    assert_eq!(marks.phases(), wanted);
}
