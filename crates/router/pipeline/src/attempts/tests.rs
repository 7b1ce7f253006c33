use kthena_router_view::{PodFacts, View};
use rstest::rstest;
use serde_json::json;

use super::*;

/// A server of this many pods and its retry policy.
fn server(pods: u8, retry: Option<&serde_json::Value>) -> (View, Arc<ServerView>) {
    let mut view = View::default();
    let spec = json!({
        "workloadSelector": {"matchLabels": {"app": "m"}},
        "workloadPort": {"port": 8000},
        "trafficPolicy": {"retry": retry},
    });
    let object = json!({"metadata": {"namespace": "ns", "name": "s"}, "spec": spec});
    view.apply_server(Arc::new(serde_json::from_value(object).unwrap()));
    for number in 0..pods {
        view.apply_pod(PodFacts {
            namespace: "ns".to_owned(),
            name: number.to_string(),
            uid: "u".to_owned(),
            labels: [("app".to_owned(), "m".to_owned())].into(),
            ready: true,
            address: Some([127, 0, 0, number].into()),
            started_unix: None,
        });
    }
    let server = Arc::clone(view.snapshot().server("ns/s").unwrap());
    (view, server)
}

fn plan(server: &Arc<ServerView>) -> AttemptPlan<Candidate> {
    AttemptPlan::new(server.pods().take(5).cloned().collect(), Arc::clone(server))
}

/// Makes attempts that all end like this; returns whom with.
fn tried(plan: &mut AttemptPlan<Candidate>, fault: UpstreamFault) -> Vec<String> {
    let mut rng = Rng::with_seed(1);
    let attempts = std::iter::from_fn(|| {
        let attempt = plan.begin(&mut rng)?;
        plan.note_fault(fault);
        Some(attempt.slot.endpoint.pod().name.to_string())
    });
    attempts.collect()
}

#[rstest]
#[case::no_policy_tries_each_once(3, None, 3)]
#[case::five_at_most(7, None, 5)]
#[case::policy_bounds(3, Some(1), 2)]
#[case::policy_beyond_the_candidates(2, Some(9), 2)]
#[case::no_retries(3, Some(0), 1)]
#[case::nobody(0, None, 0)]
fn how_many_attempts(#[case] pods: u8, #[case] retries: Option<u8>, #[case] expected: usize) {
    let policy = retries.map(|retries| json!({"attempts": retries}));
    let (_view, server) = server(pods, policy.as_ref());
    let mut plan = plan(&server);

    let mut tried = tried(&mut plan, UpstreamFault::Connect);

    assert_eq!((tried.len(), plan.made()), (expected, expected));
    tried.dedup();
    assert_eq!(tried.len(), expected, "no candidate twice");
}

#[test]
fn attempts_after_the_first_wait_about_the_interval() {
    let (_view, server) = server(5, Some(&json!({"attempts": 4, "retryInterval": "100ms"})));
    let mut rng = Rng::with_seed(1);
    let mut waits = Vec::new();
    for _ in 0..50 {
        let mut plan = plan(&server);
        let first = plan.begin(&mut rng).unwrap();
        assert_eq!(first.wait, Duration::ZERO);
        plan.note_fault(UpstreamFault::Connect);
        waits.push(plan.begin(&mut rng).unwrap().wait.as_millis());
    }

    assert!(
        waits.iter().all(|wait| (50..=150).contains(wait)),
        "{waits:?}"
    );
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 10, "they differ: {waits:?}");
}

#[rstest]
#[case::good(200, Verdict::Forward)]
#[case::redirect(307, Verdict::Forward)]
#[case::client_error(400, Verdict::Forward)]
#[case::not_found(404, Verdict::Forward)]
#[case::own_failure(500, Verdict::Forward)]
#[case::busy(429, Verdict::TryNext)]
#[case::bad_gateway(502, Verdict::TryNext)]
#[case::unavailable(503, Verdict::TryNext)]
#[case::timeout(504, Verdict::TryNext)]
fn whose_answer_it_is(#[case] status: u16, #[case] with_more_candidates: Verdict) {
    let (_view, server) = server(2, None);
    let mut rng = Rng::with_seed(1);
    let status = StatusCode::from_u16(status).unwrap();
    let mut plan = plan(&server);
    plan.begin(&mut rng).unwrap();
    assert_eq!(plan.judge(status, ErrorStyle::OpenAi), with_more_candidates);
    assert_eq!(
        plan.begin(&mut rng).is_some(),
        with_more_candidates == Verdict::TryNext,
        "nothing follows an answer that is the client's"
    );
    while plan.has_more() {
        plan.goes_on = true;
        plan.begin(&mut rng);
    }
    assert_eq!(plan.judge(status, ErrorStyle::OpenAi), Verdict::Forward);
    let replaced = if status.is_server_error() {
        Verdict::Replace
    } else {
        Verdict::Forward
    };
    assert_eq!(plan.judge(status, ErrorStyle::Legacy), replaced);
}

#[rstest]
#[case::nothing_was_reached(UpstreamFault::Connect, 5)]
#[case::nobody_spoke_tls(UpstreamFault::Handshake, 5)]
#[case::nobody_was_believed(UpstreamFault::Untrusted, 5)]
#[case::one_pod_died(UpstreamFault::Closed, 2)]
#[case::too_slow(UpstreamFault::Timeout, 1)]
#[case::nonsense(UpstreamFault::Malformed, 1)]
fn without_a_budget_only_what_costs_nothing_is_repeated(
    #[case] fault: UpstreamFault,
    #[case] expected: usize,
) {
    let (_view, server) = server(5, None);
    let _spent: Vec<_> = std::iter::from_fn(|| server.budget.begin(0)).collect();
    let mut plan = plan(&server);

    assert_eq!(tried(&mut plan, fault).len(), expected);
}

#[test]
fn silence_is_not_tried_elsewhere() {
    let (_view, server) = server(5, None);
    let mut plan = plan(&server);

    assert_eq!(tried(&mut plan, UpstreamFault::Silent).len(), 1);
    assert_eq!(plan.exhausted(), RouteError::AllFailed { timed_out: true });
}

#[test]
fn without_a_budget_a_refusal_is_the_clients() {
    let (_view, server) = server(2, None);
    let spent: Vec<_> = std::iter::from_fn(|| server.budget.begin(0)).collect();
    let mut rng = Rng::with_seed(1);
    let mut plan = plan(&server);
    plan.begin(&mut rng).unwrap();

    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(
        plan.judge(unavailable, ErrorStyle::OpenAi),
        Verdict::Forward
    );
    drop(spent);
    assert_eq!(
        plan.judge(unavailable, ErrorStyle::OpenAi),
        Verdict::TryNext
    );
}

#[test]
fn what_a_request_took_from_the_budget_returns_with_its_end() {
    let (_view, server) = server(5, None);
    let free = |server: &Arc<ServerView>| {
        let all: Vec<_> = std::iter::from_fn(|| server.budget.begin(0)).collect();
        all.len()
    };
    let mut plan = plan(&server);
    let before = free(&server);

    assert_eq!(tried(&mut plan, UpstreamFault::Timeout).len(), 5);
    assert_eq!(free(&server), before - 1, "one attempt at a time");
    drop(plan);

    assert_eq!(free(&server), before);
}

#[test]
fn a_pod_that_left_meanwhile_is_the_last_resort() {
    let (mut view, server) = server(3, None);
    let mut plan = plan(&server);
    view.delete_pod("ns", "0", "u");

    assert_eq!(tried(&mut plan, UpstreamFault::Connect), ["1", "2"]);

    let mut plan = self::plan(&server);
    for name in ["1", "2"] {
        view.delete_pod("ns", name, "u");
    }
    assert_eq!(tried(&mut plan, UpstreamFault::Connect), ["0", "1", "2"]);
}

#[test]
fn the_last_fault_decides_what_the_client_is_told() {
    let (_view, server) = server(2, None);
    let mut plan = plan(&server);
    plan.note_fault(UpstreamFault::Timeout);
    assert_eq!(plan.exhausted(), RouteError::AllFailed { timed_out: true });
    plan.note_fault(UpstreamFault::Connect);
    assert_eq!(plan.exhausted(), RouteError::AllFailed { timed_out: false });
    plan.note_fault(UpstreamFault::NoDescriptor);
    assert_eq!(plan.exhausted(), RouteError::Overloaded);

    let mut pairs: AttemptPlan<Pair> = AttemptPlan::new(SmallVec::new(), server);
    pairs.note_fault(UpstreamFault::BadPrefill);
    assert_eq!(
        pairs.exhausted(),
        RouteError::PairsFailed { timed_out: false }
    );
}
