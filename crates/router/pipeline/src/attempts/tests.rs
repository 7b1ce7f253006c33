use std::sync::Arc;

use kthena_router_scheduler::{Endpoint, PodIdentity};
use rstest::rstest;

use super::*;

fn candidates(count: u8) -> SmallVec<[Candidate; 5]> {
    (0..count)
        .map(|number| {
            let name = number.to_string();
            let pod = PodIdentity {
                namespace: "ns".into(),
                name: name.as_str().into(),
                uid: "u".into(),
            };
            let address = SocketAddr::from(([127, 0, 0, number], 1));
            Candidate {
                endpoint: Arc::new(Endpoint::new(pod)),
                address,
            }
        })
        .collect()
}

#[rstest]
#[case::no_policy_tries_each_once(3, None, 3)]
#[case::policy_bounds(3, Some(1), 2)]
#[case::policy_beyond_the_candidates(2, Some(9), 2)]
#[case::no_retries(3, Some(0), 1)]
#[case::nobody(0, None, 0)]
fn how_many_attempts(#[case] count: u8, #[case] retries: Option<u32>, #[case] expected: usize) {
    let interval = Duration::from_millis(7);
    let mut plan = AttemptPlan::new(
        candidates(count),
        retries.map(|retries| RetryPolicy { retries, interval }),
    );

    let mut tried = Vec::new();
    while let Some(attempt) = plan.begin() {
        let expected_wait = if retries.is_some() && !tried.is_empty() {
            interval
        } else {
            Duration::ZERO
        };
        assert_eq!(attempt.wait, expected_wait);
        assert_eq!(attempt.guard.endpoint().in_flight(), 1);
        tried.push(attempt.address);
    }

    assert_eq!((tried.len(), plan.made()), (expected, expected));
    tried.dedup();
    assert_eq!(tried.len(), expected, "no candidate twice");
}

#[rstest]
#[case::good(200, Verdict::Forward)]
#[case::client_error(400, Verdict::Forward)]
#[case::not_found(404, Verdict::Forward)]
#[case::own_failure(500, Verdict::Forward)]
#[case::busy(429, Verdict::TryNext)]
#[case::bad_gateway(502, Verdict::TryNext)]
#[case::unavailable(503, Verdict::TryNext)]
#[case::timeout(504, Verdict::TryNext)]
fn whose_answer_it_is(#[case] status: u16, #[case] with_more_candidates: Verdict) {
    let status = StatusCode::from_u16(status).unwrap();
    let mut plan = AttemptPlan::new(candidates(2), None);
    let _first = plan.begin();
    assert_eq!(plan.judge(status, ErrorStyle::OpenAi), with_more_candidates);
    let _second = plan.begin();
    assert_eq!(plan.judge(status, ErrorStyle::OpenAi), Verdict::Forward);
    let replaced = if status.is_server_error() {
        Verdict::Replace
    } else {
        Verdict::Forward
    };
    assert_eq!(plan.judge(status, ErrorStyle::Legacy), replaced);
}

#[test]
fn the_last_fault_decides_what_the_client_is_told() {
    let mut plan = AttemptPlan::new(candidates(2), None);
    plan.note_fault(UpstreamFault::Timeout);
    assert_eq!(plan.exhausted(), RouteError::AllFailed { timed_out: true });
    plan.note_fault(UpstreamFault::Connect);
    assert_eq!(plan.exhausted(), RouteError::AllFailed { timed_out: false });
}
