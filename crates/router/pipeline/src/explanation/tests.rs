use std::net::SocketAddr;

use kthena_router_observability::{BackendKind, Destination};
use kthena_router_scheduler::{Candidate, Endpoint, InFlight, PodIdentity};
use rstest::rstest;

use super::*;
use crate::attempts::{AttemptPlan, UpstreamFault};
use crate::edits::Edits;

const DEFAULT: MatchedRule<'static> = MatchedRule {
    position: 0,
    name: Some("default"),
};

/// A plan over pods `p0`, `p1`, … that work on this many requests, and the guards that keep them busy.
fn plan(in_flight: &[u32], considered: usize) -> (Plan, Vec<InFlight>) {
    let mut guards = Vec::new();
    let mut candidates = SmallVec::new();
    for (number, count) in in_flight.iter().enumerate() {
        let endpoint = Arc::new(Endpoint::new(PodIdentity {
            namespace: "ns".into(),
            name: format!("p{number}").into(),
            uid: "u".into(),
        }));
        guards.extend((0..*count).map(|_| endpoint.begin()));
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        candidates.push(Candidate { endpoint, address });
    }
    let plan = Plan {
        destination: Destination {
            route: "ns/r".into(),
            kind: BackendKind::ModelServer,
            backend: "ns/s".into(),
            upstream_model: "m".into(),
        },
        edits: Edits::default(),
        attempts: AttemptPlan::new(candidates, None),
        considered,
        timeout: None,
    };
    (plan, guards)
}

#[rstest]
#[case::one_is_least_busy(&[0, 2], 2, "fewest requests in flight (p0 0, p1 2)")]
#[case::equals(&[1, 1], 2, "fewest requests in flight, drawn by lot among equals (p0 1, p1 1)")]
#[case::no_choice(&[3], 1, "the only pod; requests in flight (p0 3)")]
#[case::five_are_listed(&[0, 1, 2, 3, 4], 5, "fewest requests in flight (p0 0, p1 1, p2 2, p3 3, p4 4)")]
#[case::more_than_five(&[0, 1, 2, 3, 4], 9, "fewest requests in flight (p0 0, p1 1, p2 2, p3 3, p4 4, ...)")]
fn why_the_first_choice_answered(
    #[case] in_flight: &[u32],
    #[case] considered: usize,
    #[case] expected: &str,
) {
    let (plan, _guards) = plan(in_flight, considered);

    let line = Explanation::new(DEFAULT, &plan).line(Some("p0"));

    assert_eq!(
        line,
        format!("route ns/r rule default -> server ns/s -> pod p0: {expected}")
    );
}

#[test]
fn pods_that_failed_are_named_in_order() {
    let (plan, _guards) = plan(&[0, 1, 2], 3);
    let mut explanation = Explanation::new(DEFAULT, &plan);
    explanation.note_failure(&"p0".into(), &UpstreamFault::Timeout);
    explanation.note_failure(&"p1".into(), &"status 503");

    assert_eq!(
        explanation.line(Some("p2")),
        "route ns/r rule default -> server ns/s -> pod p2 after p0 (no answer within the time limit), \
         p1 (status 503): next fewest requests in flight (p0 0, p1 1, p2 2)"
    );
    assert_eq!(
        explanation.line(None),
        "route ns/r rule default -> server ns/s -> no pod answered: p0 (no answer within the time limit), \
         p1 (status 503)"
    );
}

#[rstest]
#[case::none(None, "rules[3]")]
#[case::empty(Some(""), "rules[3]")]
#[case::spaces(Some("gold tier"), "rule gold tier")]
#[case::line_break(Some("a\r\nset-cookie: b"), "rule a\\r\\nset-cookie: b")]
#[case::no_ascii(Some("gr\u{fc}n"), "rule gr\\u{fc}n")]
#[case::delete(Some("a\u{7f}"), "rule a\\u{7f}")]
fn a_rule_is_named_safely(#[case] name: Option<&str>, #[case] expected: &str) {
    let (plan, _guards) = plan(&[0], 1);
    let rule = MatchedRule { position: 3, name };

    let line = Explanation::new(rule, &plan).line(Some("p0"));

    assert!(
        line.starts_with(&format!("route ns/r {expected} -> ")),
        "{line}"
    );
    assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')));
}

#[test]
fn a_long_rule_name_is_cut() {
    let (plan, _guards) = plan(&[0], 1);
    let name = "\u{e4}".repeat(1000);
    let rule = MatchedRule {
        position: 0,
        name: Some(&name),
    };

    let line = Explanation::new(rule, &plan).line(None);

    assert!(line.contains("... -> server ns/s"), "{line}");
    assert_eq!(line.matches("\\u{e4}").count(), LONGEST_NAME);
}
