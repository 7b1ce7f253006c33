use std::collections::HashMap;

use fastrand::Rng;
use proptest::prelude::{prop_assert, prop_assert_eq, prop_assume, proptest};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::rule::{HeaderSource, NoHeaders};

struct Headers(HashMap<String, String>);

impl HeaderSource for Headers {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(String::as_bytes)
    }
}

fn route(name: &str, spec: &Value) -> Arc<Route> {
    dated(name, "2026-01-01T00:00:00Z", "1", spec)
}

fn dated(name: &str, created: &str, version: &str, spec: &Value) -> Arc<Route> {
    let object = json!({
        "metadata": {"namespace": "ns", "name": name, "creationTimestamp": created, "resourceVersion": version},
        "spec": spec,
    });
    Arc::new(Route::compile(&serde_json::from_value(object).unwrap()))
}

fn to(server: &str) -> Value {
    json!([{"targetModels": [{"modelServerName": server}]}])
}

fn facts(model: &str) -> RouteFacts<'_> {
    RouteFacts {
        model,
        path: b"/v1/chat/completions",
        headers: &NoHeaders,
    }
}

/// Name of the chosen server without its namespace.
fn chosen(table: &RouteTable, facts: &RouteFacts<'_>, draw: u64) -> Option<String> {
    match table.select(facts, draw)?.target {
        Target::Server(key) | Target::Provider(key) => {
            Some(key.strip_prefix("ns/").unwrap().to_owned())
        }
        Target::Malformed => panic!("a malformed target was chosen"),
    }
}

fn first(table: &RouteTable, model: &str) -> Option<String> {
    chosen(table, &facts(model), 0)
}

#[test]
fn a_base_name_is_found_and_is_no_adapter() {
    let table = RouteTable::build([&route(
        "r",
        &json!({"modelName": "m", "loraAdapters": ["a"], "rules": to("s")}),
    )]);

    let base = table.select(&facts("m"), 0).unwrap();
    assert_eq!(
        (base.adapter, &**base.route.key(), base.rule),
        (false, "ns/r", 0)
    );
    assert!(table.select(&facts("a"), 0).unwrap().adapter);
    assert!(table.select(&facts("other"), 0).is_none());
    assert!(table.select(&facts(""), 0).is_none());
}

#[test]
fn a_base_name_is_never_looked_up_as_an_adapter() {
    let routes = [
        route("base", &json!({"modelName": "m", "rules": []})),
        route("lora", &json!({"loraAdapters": ["m"], "rules": to("s")})),
    ];

    assert_eq!(first(&RouteTable::build(&routes), "m"), None);
}

#[rstest]
#[case::older_wins(("2026-01-02T00:00:00Z", "1"), ("2026-01-01T00:00:00Z", "2"), "b")]
#[case::then_the_lower_version(("2026-01-01T00:00:00Z", "10"), ("2026-01-01T00:00:00Z", "9"), "b")]
#[case::numbers_before_texts(("2026-01-01T00:00:00Z", "1x"), ("2026-01-01T00:00:00Z", "9"), "b")]
#[case::then_the_name(("2026-01-01T00:00:00Z", "9"), ("2026-01-01T00:00:00Z", "9"), "a")]
fn the_order_of_candidates(#[case] a: (&str, &str), #[case] b: (&str, &str), #[case] winner: &str) {
    let a = dated("a", a.0, a.1, &json!({"modelName": "m", "rules": to("a")}));
    let b = dated("b", b.0, b.1, &json!({"modelName": "m", "rules": to("b")}));

    assert_eq!(
        first(&RouteTable::build([&a, &b]), "m").as_deref(),
        Some(winner)
    );
    assert_eq!(
        first(&RouteTable::build([&b, &a]), "m").as_deref(),
        Some(winner)
    );
}

#[rstest]
#[case::no_rules(json!([]))]
#[case::no_targets(json!([{"targetModels": []}]))]
#[case::no_name(json!([{"targetModels": [{}]}]))]
#[case::two_names(json!([{"targetModels": [{"modelServerName": "x", "externalModelProviderName": "y"}]}]))]
#[case::mixed_weights(json!([{"targetModels": [{"modelServerName": "x", "weight": 1}, {"modelServerName": "y"}]}]))]
#[case::zero_total(json!([{"targetModels": [{"modelServerName": "x", "weight": 0}]}]))]
#[case::invalid_pattern(json!([{"modelMatch": {"uri": {"regex": "("}}, "targetModels": [{"modelServerName": "x"}]}]))]
#[case::repetition_too_large(json!([{"modelMatch": {"uri": {"regex": "a{1001}|."}}, "targetModels": [{"modelServerName": "x"}]}]))]
#[case::a_failed_draw_skips_later_rules(json!([{"targetModels": []}, {"targetModels": [{"modelServerName": "x"}]}]))]
fn a_route_that_cannot_choose_leaves_the_request_to_the_next(#[case] rules: Value) {
    let broken = dated(
        "a",
        "2025-01-01T00:00:00Z",
        "1",
        &json!({"modelName": "m", "rules": rules}),
    );
    let sound = route("b", &json!({"modelName": "m", "rules": to("s")}));

    assert_eq!(
        first(&RouteTable::build([&broken, &sound]), "m").as_deref(),
        Some("s")
    );
    assert_eq!(first(&RouteTable::build([&broken]), "m"), None);
}

#[test]
fn a_route_bound_to_a_gateway_takes_nothing_from_the_plain_listener() {
    let bound = route(
        "a",
        &json!({"modelName": "m", "parentRefs": [{"name": "gw"}], "rules": to("s")}),
    );
    let unbound = route(
        "b",
        &json!({"modelName": "m", "parentRefs": [], "rules": to("t")}),
    );

    assert_eq!(first(&RouteTable::build([&bound]), "m"), None);
    assert_eq!(
        first(&RouteTable::build([&bound, &unbound]), "m").as_deref(),
        Some("t")
    );
}

#[rstest]
#[case::exact(json!({"exact": "/v1/chat/completions"}), "/v1/chat/completions", true)]
#[case::exact_differs(json!({"exact": "/v1/chat"}), "/v1/chat/completions", false)]
#[case::prefix(json!({"prefix": "/v1/chat"}), "/v1/chat/completions", true)]
#[case::prefix_differs(json!({"prefix": "/v2"}), "/v1/chat/completions", false)]
#[case::exact_wins_over_prefix(json!({"exact": "/x", "prefix": "/v1"}), "/v1/chat", false)]
#[case::prefix_wins_over_pattern(json!({"prefix": "/v1", "regex": "nothing"}), "/v1/chat", true)]
#[case::pattern_is_searched_anywhere(json!({"regex": "chat"}), "/v1/chat/completions", true)]
#[case::pattern_anchored(json!({"regex": "^chat"}), "/v1/chat/completions", false)]
#[case::quoted_pattern(json!({"regex": r"\Q.\E"}), "/v1/chat", false)]
#[case::digits_are_ascii(json!({"regex": r"\d"}), "/v1x/٣", true)]
#[case::digits_are_ascii_only(json!({"regex": r"^/\d$"}), "/٣", false)]
#[case::nothing_asked(json!({}), "/v1/chat", true)]
fn uri_conditions(#[case] uri: Value, #[case] path: &str, #[case] expected: bool) {
    let rules = json!([{"modelMatch": {"uri": uri}, "targetModels": [{"modelServerName": "s"}]}]);
    let table = RouteTable::build([&route("r", &json!({"modelName": "m", "rules": rules}))]);

    let facts = RouteFacts {
        model: "m",
        path: path.as_bytes(),
        headers: &NoHeaders,
    };
    assert_eq!(chosen(&table, &facts, 0).is_some(), expected);
}

#[rstest]
#[case::name_in_any_case(json!({"X-Tier": {"exact": "gold"}}), &[("x-tier", "gold")], true)]
#[case::value_differs(json!({"x-tier": {"exact": "gold"}}), &[("x-tier", "iron")], false)]
#[case::absent_is_empty(json!({"x-tier": {"exact": ""}}), &[], true)]
#[case::empty_prefix_matches_absent(json!({"x-tier": {"prefix": ""}}), &[], true)]
#[case::absent_does_not_match_a_value(json!({"x-tier": {"exact": "gold"}}), &[], false)]
#[case::all_must_hold(json!({"a": {"exact": "1"}, "b": {"exact": "2"}}), &[("a", "1")], false)]
#[case::all_hold(json!({"a": {"exact": "1"}, "b": {"regex": "^2$"}}), &[("a", "1"), ("b", "2")], true)]
fn header_conditions(
    #[case] headers: Value,
    #[case] given: &[(&str, &str)],
    #[case] expected: bool,
) {
    let rules =
        json!([{"modelMatch": {"headers": headers}, "targetModels": [{"modelServerName": "s"}]}]);
    let table = RouteTable::build([&route("r", &json!({"modelName": "m", "rules": rules}))]);
    let given = Headers(
        given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    );

    let facts = RouteFacts {
        model: "m",
        path: b"/",
        headers: &given,
    };
    assert_eq!(chosen(&table, &facts, 0).is_some(), expected);
}

#[test]
fn the_first_matching_rule_wins_and_body_model_is_exact() {
    let rules = json!([
        {"modelMatch": {"body": {"model": "other"}}, "targetModels": [{"modelServerName": "a"}]},
        {"modelMatch": {"body": {"model": "m"}}, "targetModels": [{"modelServerName": "b"}]},
        {"targetModels": [{"modelServerName": "c"}]},
    ]);
    let table = RouteTable::build([&route("r", &json!({"modelName": "m", "rules": rules}))]);

    let selection = table.select(&facts("m"), 0).unwrap();
    assert_eq!(
        (selection.rule, selection.target),
        (1, &Target::Server("ns/b".into()))
    );
}

#[test]
fn a_provider_is_a_target_too() {
    let rules = json!([{"targetModels": [{"externalModelProviderName": "p"}]}]);
    let table = RouteTable::build([&route("r", &json!({"modelName": "m", "rules": rules}))]);

    assert_eq!(
        table.select(&facts("m"), 0).unwrap().target,
        &Target::Provider("ns/p".into())
    );
}

#[test]
fn names_are_listed_once_and_sorted() {
    let routes = [
        route(
            "a",
            &json!({"modelName": "z", "loraAdapters": ["b", "b"], "rules": []}),
        ),
        route(
            "b",
            &json!({"modelName": "b", "loraAdapters": ["a", ""], "rules": []}),
        ),
    ];
    let table = RouteTable::build(&routes);

    assert_eq!(table.models(), ["a", "b", "z"]);
    assert_eq!(table.known("a").map(|name| &**name), Some("a"));
    assert!(table.known("").is_none());
}

fn limit(input: i32) -> Value {
    json!({"inputTokensPerUnit": input, "unit": "minute"})
}

/// Name, bucket and limit of everything that is limited.
fn limits(table: &RouteTable) -> BTreeSet<(String, String, i32)> {
    let told = table.limited().map(|limited| {
        let input = limited.limit.input_tokens_per_unit.unwrap();
        (limited.name.to_string(), limited.bucket.to_string(), input)
    });
    told.collect()
}

fn set<const N: usize>(expected: [(&str, &str, i32); N]) -> BTreeSet<(String, String, i32)> {
    let owned =
        |(name, bucket, limit): (&str, &str, i32)| (name.to_owned(), bucket.to_owned(), limit);
    expected.map(owned).into()
}

#[test]
fn the_oldest_route_with_a_limit_decides_for_a_name() {
    let day = |day: u8| format!("2026-01-0{day}T00:00:00Z");
    let routes = [
        dated("a", &day(1), "1", &json!({"modelName": "m", "rules": []})),
        dated(
            "b",
            &day(3),
            "1",
            &json!({"modelName": "m", "rateLimit": limit(3), "rules": []}),
        ),
        dated(
            "c",
            &day(2),
            "1",
            &json!({"modelName": "m", "rateLimit": limit(2), "rules": []}),
        ),
        dated(
            "d",
            &day(1),
            "1",
            &json!({"modelName": "free", "rules": []}),
        ),
    ];

    assert_eq!(limits(&RouteTable::build(&routes)), set([("m", "m", 2)]));
    let without = RouteTable::build(routes.iter().filter(|route| &**route.key() != "ns/c"));
    assert_eq!(limits(&without), set([("m", "m", 3)]));
}

#[test]
fn adapters_share_the_limit_of_their_base() {
    let routes = [
        route(
            "a",
            &json!({"modelName": "m", "loraAdapters": ["x", "n"], "rateLimit": limit(1), "rules": []}),
        ),
        route(
            "b",
            &json!({"modelName": "m", "loraAdapters": ["y"], "rateLimit": limit(2), "rules": []}),
        ),
        route(
            "c",
            &json!({"loraAdapters": ["z"], "rateLimit": limit(3), "rules": []}),
        ),
        route("d", &json!({"modelName": "n", "rules": []})),
        route(
            "e",
            &json!({"modelName": "m", "loraAdapters": ["free"], "rules": []}),
        ),
    ];

    assert_eq!(
        limits(&RouteTable::build(&routes)),
        set([("m", "m", 1), ("x", "m", 1), ("y", "m", 1), ("z", "z", 3)])
    );
}

proptest! {
    #[test]
    fn draws_follow_the_weights(weights in proptest::collection::vec(0_i32..=100, 1..6), seed: u64) {
        prop_assume!(weights.iter().sum::<i32>() > 0);
        let targets: Vec<Value> = weights
            .iter()
            .enumerate()
            .map(|(number, weight)| json!({"modelServerName": number.to_string(), "weight": weight}))
            .collect();
        let table = RouteTable::build([&route("r", &json!({"modelName": "m", "rules": [{"targetModels": targets}]}))]);
        let mut rng = Rng::with_seed(seed);
        let mut hits = vec![0_u32; weights.len()];
        let draws = 4_000;
        for _ in 0..draws {
            let server: usize = chosen(&table, &facts("m"), rng.u64(..)).unwrap().parse().unwrap();
            hits[server] += 1;
        }
        let total: i32 = weights.iter().sum();
        for (weight, hits) in weights.iter().zip(hits) {
            let (share, expected) = (f64::from(hits) / f64::from(draws), f64::from(*weight) / f64::from(total));
            prop_assert!((share - expected).abs() < 0.05, "weight {weight} of {total} got {share}");
            prop_assert!(*weight > 0 || hits == 0);
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(
        ages in proptest::collection::vec((0_u8..3, 0_u8..12), 1..8),
        rotation in 0_usize..8,
        draw: u64,
    ) {
        let routes: Vec<_> = ages
            .iter()
            .enumerate()
            .map(|(number, (day, version))| {
                let created = format!("2026-01-0{}T00:00:00Z", day + 1);
                let spec = json!({"modelName": "m", "loraAdapters": ["a"], "rules": to(&number.to_string())});
                dated(&format!("r{number}"), &created, &version.to_string(), &spec)
            })
            .collect();
        let mut turned = routes.clone();
        turned.rotate_left(rotation % routes.len());
        turned.reverse();

        for model in ["m", "a"] {
            let straight = chosen(&RouteTable::build(&routes), &facts(model), draw);
            prop_assert_eq!(&straight, &chosen(&RouteTable::build(&turned), &facts(model), draw));
            let oldest = ages.iter().enumerate().min_by_key(|(number, age)| (**age, *number)).unwrap().0;
            prop_assert_eq!(straight, Some(oldest.to_string()));
        }
    }

    #[test]
    fn no_draw_is_out_of_range(count in 1_usize..17, draw: u64) {
        let targets: Vec<Value> = (0..count).map(|number| json!({"modelServerName": number.to_string()})).collect();
        let table = RouteTable::build([&route("r", &json!({"modelName": "m", "rules": [{"targetModels": targets}]}))]);
        let server: usize = chosen(&table, &facts("m"), draw).unwrap().parse().unwrap();
        prop_assert!(server < count);
    }
}
