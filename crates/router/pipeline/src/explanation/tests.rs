use kthena_router_scheduler::watch::TracedScorer;
use kthena_router_scheduler::{Endpoint, InFlight, PodIdentity, Sample, Score};
use rstest::rstest;

use super::*;
use crate::attempts::UpstreamFault;

fn explanation(rule: MatchedRule<'_>) -> Explanation {
    Explanation {
        route: "ns/r".into(),
        rule: rule.position,
        rule_name: rule.name.filter(|name| !name.is_empty()).map(str::to_owned),
        server: "ns/s".into(),
        connector: None,
        considered: 0,
        ranked: Vec::new(),
        partner: None,
        bound: Vec::new(),
        left_out: Vec::new(),
        failed: Vec::new(),
    }
}

const DEFAULT: MatchedRule<'static> = MatchedRule {
    position: 0,
    name: Some("default"),
};

/// Pods of these names that work on this many requests, and the guards that keep them busy.
fn pods(in_flight: &[(&str, u32)]) -> (Vec<Candidate>, Vec<InFlight>) {
    let mut guards = Vec::new();
    let mut candidates = Vec::new();
    for (name, count) in in_flight {
        let endpoint = Arc::new(Endpoint::new(PodIdentity {
            namespace: "ns".into(),
            name: (*name).into(),
            uid: "u".into(),
        }));
        guards.extend((0..*count).map(|_| endpoint.begin()));
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        candidates.push(Candidate { endpoint, address });
    }
    (candidates, guards)
}

/// An account of a choice by one scorer that counts requests in flight, best first.
fn by_load(in_flight: &[(&str, u32)], kept: usize) -> Explanation {
    let (candidates, _guards) = pods(in_flight);
    let mark = |candidate: &Candidate| -i64::from(candidate.endpoint.in_flight());
    let marks = (0..).zip(candidates.iter().map(mark));
    let trace = Trace {
        dropped: Vec::new(),
        scorers: vec![TracedScorer {
            name: "least-request",
            weight: 1,
            marks: marks.collect(),
        }],
    };
    let picks: Vec<_> = (0..)
        .zip(&candidates)
        .take(kept)
        .map(|(position, candidate)| Pick {
            candidate,
            position,
            total: Score(mark(candidate)),
        })
        .collect();
    let mut explanation = explanation(DEFAULT);
    explanation.note_placement(
        (Role::Whole, Duration::ZERO),
        (&candidates, candidates.len()),
        &trace,
        &picks,
        &[],
    );
    explanation
}

#[rstest]
#[case::one_is_best(&[("p0", 0), ("p1", 2)], 5, "best score (p0 0: least-request 0, in flight 0 | p1 -2: least-request -2, in flight 2)")]
#[case::equals(&[("p0", 1), ("p1", 1)], 5, "best score, drawn by lot among equals (p0 -1: least-request -1, in flight 1 | p1 -1: least-request -1, in flight 1)")]
#[case::no_choice(&[("p0", 3)], 5, "the only pod (p0 -3: least-request -3, in flight 3)")]
#[case::more_than_are_kept(&[("p0", 0), ("p1", 1), ("p2", 2)], 2, "best score (p0 0: least-request 0, in flight 0 | p1 -1: least-request -1, in flight 1 | ...)")]
fn why_the_first_choice_answered(
    #[case] in_flight: &[(&str, u32)],
    #[case] kept: usize,
    #[case] expected: &str,
) {
    let line = by_load(in_flight, kept).line(Some("p0"));

    assert_eq!(
        line,
        format!("route ns/r rule default -> server ns/s -> pod p0: {expected}")
    );
}

#[test]
fn weights_filters_and_health_are_told() {
    let (candidates, _guards) = pods(&[("p0", 0), ("p1", 0)]);
    let scorer = |name, weight, mark| TracedScorer {
        name,
        weight,
        marks: vec![(1, mark)],
    };
    let trace = Trace {
        dropped: vec![(0, "lora-affinity")],
        scorers: vec![scorer("random", 1, 7), scorer("prefix-cache", 3, 50)],
    };
    let picks = [Pick {
        candidate: &candidates[1],
        position: 1,
        total: Score(157),
    }];
    let mut explanation = explanation(DEFAULT);
    let left = Duration::from_millis(4_200);
    explanation.note_untrusted(&"p2".into(), Standing::Ejected { left });
    explanation.note_placement(
        (Role::Whole, Duration::ZERO),
        (&candidates, candidates.len()),
        &trace,
        &picks,
        &[],
    );

    assert_eq!(
        explanation.line(Some("p1")),
        "route ns/r rule default -> server ns/s -> pod p1: best score \
         (p1 157: random 7, prefix-cache 50 x3, in flight 0); \
         left out: p2 (ejected for 4200 ms more), p0 (filter lora-affinity)"
    );
    let told = explanation.value(Some("p1"));
    assert_eq!(told["considered"], 3);
    assert_eq!(
        told["candidates"][0]["scores"][1],
        json!({"plugin": "prefix-cache", "score": 50, "weight": 3})
    );
    assert_eq!(
        told["leftOut"][1],
        json!({"pod": "p0", "why": "filter lora-affinity"})
    );
}

#[test]
fn what_is_known_of_an_engine_is_told() {
    let (candidates, _guards) = pods(&[("p0", 0), ("p1", 0)]);
    candidates[0].endpoint.set_sample(Sample {
        taken_at: Duration::from_millis(1_500),
        ..Sample::default()
    });
    let picks: Vec<_> = (0..)
        .zip(&candidates)
        .map(|(position, candidate)| Pick {
            candidate,
            position,
            total: Score(0),
        })
        .collect();
    let mut explanation = explanation(DEFAULT);
    let all = (&candidates[..], 2);
    let role = (Role::Whole, Duration::from_secs(4));
    explanation.note_placement(role, all, &Trace::default(), &picks, &[512, 0]);

    let line = explanation.line(Some("p0"));
    let expected = "(p0 0, in flight 0, 512 tokens cached | p1 0, in flight 0, 0 tokens cached)";
    assert!(line.ends_with(expected), "{line}");
    let told = explanation.value(Some("p0"));
    assert_eq!(told["candidates"][0]["cachedTokens"], 512);
    assert_eq!(told["candidates"][0]["sampleAgeSeconds"], 2.5);
    assert_eq!(told["candidates"][1]["sampleAgeSeconds"], Value::Null);
    let unknown = by_load(&[("p0", 0)], 5).value(Some("p0"));
    assert_eq!(unknown["candidates"][0]["cachedTokens"], Value::Null);
}

#[test]
fn pairs_are_told_with_both_pods() {
    let (prefill, _guards) = pods(&[("a", 1)]);
    let mut explanation = by_load(&[("d0", 0), ("d1", 1)], 5);
    explanation.note_connector("nixl");
    let pick = Pick {
        candidate: &prefill[0],
        position: 0,
        total: Score(9),
    };
    explanation.note_placement(
        (Role::Prefill, Duration::ZERO),
        (&prefill, 1),
        &Trace::default(),
        &[pick],
        &[],
    );
    explanation.note_pair(&"d1".into());

    assert_eq!(
        explanation.line(Some("d0")),
        "route ns/r rule default -> server ns/s -> connector nixl -> pod d0: best score \
         (d0 0: least-request 0, in flight 0 | d1 -1: least-request -1, in flight 1 + prefill a 9, in flight 1)"
    );
    assert_eq!(
        explanation.value(None)["candidates"][1]["prefill"]["pod"],
        "a"
    );
}

#[test]
fn a_session_goes_before_scores() {
    let (bound, _guards) = pods(&[("p1", 2)]);
    let mut explanation = explanation(DEFAULT);
    explanation.note_bound(bound.iter());
    let others = by_load(&[("p0", 0), ("p1", 2)], 5);
    explanation.ranked = others.ranked;
    explanation.considered = others.considered;
    explanation.bring_bound_forward();

    assert_eq!(
        explanation.line(Some("p1")),
        "route ns/r rule default -> server ns/s -> pod p1: its session is bound to it \
         (p1 -2: least-request -2, in flight 2 | p0 0: least-request 0, in flight 0)"
    );
}

#[test]
fn pods_that_failed_are_named_in_order() {
    let mut explanation = by_load(&[("p0", 0), ("p1", 1), ("p2", 2)], 5);
    explanation.note_failure(&"p0".into(), &UpstreamFault::Timeout);
    explanation.note_failure(&"p1".into(), &"status 503");
    let ranked = "(p0 0: least-request 0, in flight 0 | p1 -1: least-request -1, in flight 1 | p2 -2: least-request -2, in flight 2)";

    assert_eq!(
        explanation.line(Some("p2")),
        format!(
            "route ns/r rule default -> server ns/s -> pod p2 after p0 (no answer within the time limit), \
             p1 (status 503): next best score {ranked}"
        )
    );
    assert_eq!(
        explanation.line(None),
        format!(
            "route ns/r rule default -> server ns/s -> no pod answered: p0 (no answer within the time limit), \
             p1 (status 503) {ranked}"
        )
    );
    let told = explanation.value(Some("p2"));
    assert_eq!(
        (&told["pod"], &told["runnerUp"], &told["reason"]),
        (&json!("p2"), &json!("p0"), &json!("next best score"))
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
    let explanation = explanation(MatchedRule { position: 3, name });

    let line = explanation.line(Some("p0"));

    assert!(
        line.starts_with(&format!("route ns/r {expected} -> ")),
        "{line}"
    );
    assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    let json = explanation.json(Some("p0"));
    assert!(
        json.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "{json}"
    );
    let told: Value = serde_json::from_str(&json).unwrap();
    let named = name.filter(|name| !name.is_empty());
    assert_eq!(told["rule"]["name"].as_str(), named);
}

#[test]
fn a_long_rule_name_is_cut() {
    let name = "\u{e4}".repeat(1000);
    let explanation = explanation(MatchedRule {
        position: 0,
        name: Some(&name),
    });

    let line = explanation.line(None);

    assert!(line.contains("... -> server ns/s"), "{line}");
    assert_eq!(line.matches("\\u{e4}").count(), LONGEST_NAME);
}
