//! The bodies of a prefill/decode pair.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kthena_router_connectors::{Connector, Meeting, TransferParams};
use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use rstest::rstest;
use serde_json::value::RawValue;

use crate::body::BodyFacts;
use crate::edits::Edits;
use crate::path::ApiPath;

const COMPLETIONS: &str = "/v1/completions";

fn meeting() -> Meeting {
    Meeting::new(2 * 77, IpAddr::from([10, 0, 0, 7]))
}

fn text_of(edits: &Edits, body: &str) -> String {
    let text = edits.pieces(body.as_bytes()).collect::<Vec<_>>().concat();
    assert_eq!(text.len(), edits.length(body.as_bytes()));
    String::from_utf8(text).unwrap()
}

fn prefill(connector: Connector, body: &str, path: &str, model: Option<&str>) -> String {
    let facts = BodyFacts::read(body.as_bytes()).unwrap();
    let changes = connector.prefill(&meeting(), path == "/v1/responses");
    text_of(
        &Edits::for_prefill(&facts, body.as_bytes(), model, changes),
        body,
    )
}

fn decode(connector: Connector, body: &str, answer: &str, model: Option<&str>) -> (String, bool) {
    let facts = BodyFacts::read(body.as_bytes()).unwrap();
    let params = connector
        .hands_over_params()
        .then(|| TransferParams::read(answer.as_bytes()).unwrap());
    let changes = connector.decode(&meeting(), params);
    let path = ApiPath::of(COMPLETIONS);
    let edits = Edits::for_decode(&facts, body.as_bytes(), path, model, changes);
    (text_of(&edits, body), edits.hides_usage())
}

#[rstest]
#[case::plain(
    r#"{"model":"m","prompt":"p"}"#,
    r#"{"max_tokens":1,"model":"m","prompt":"p"}"#
)]
#[case::stream_between(
    r#"{"model":"m","stream":true,"prompt":"p"}"#,
    r#"{"max_tokens":1,"model":"m","prompt":"p"}"#
)]
#[case::stream_first(r#"{"stream":true , "model":"m"}"#, r#"{"max_tokens":1,"model":"m"}"#)]
#[case::stream_last(
    r#"{"model":"m" , "stream":true }"#,
    r#"{"max_tokens":1,"model":"m" }"#
)]
#[case::stream_with_options_last(
    r#"{"model":"m","stream":true, "stream_options":{"include_usage":true}}"#,
    r#"{"max_tokens":1,"model":"m"}"#
)]
#[case::both_around(
    r#"{"stream":true,"model":"m","stream_options":null}"#,
    r#"{"max_tokens":1,"model":"m"}"#
)]
#[case::only_the_model_stays(
    r#"{"stream_options":{},"stream":false,"model":"m","stream":true}"#,
    r#"{"max_tokens":1,"model":"m"}"#
)]
#[case::budget_in_place(
    r#"{"model":"m","max_tokens": 512 ,"min_tokens":12,"n":3,"best_of":4}"#,
    r#"{"model":"m","max_tokens": 1 ,"min_tokens":1,"n":1,"best_of":1}"#
)]
#[case::null_budget(
    r#"{"model":"m","max_tokens":null}"#,
    r#"{"model":"m","max_tokens":1}"#
)]
#[case::completion_budget(
    r#"{"model":"m","max_completion_tokens":512}"#,
    r#"{"max_tokens":1,"model":"m","max_completion_tokens":1}"#
)]
#[case::null_completion_budget(
    r#"{"model":"m","max_completion_tokens":null}"#,
    r#"{"max_tokens":1,"model":"m","max_completion_tokens":null}"#
)]
#[case::no_minimum(
    r#"{"model":"m","min_tokens":0}"#,
    r#"{"max_tokens":1,"model":"m","min_tokens":0}"#
)]
#[case::minimum_is_no_number(
    r#"{"model":"m","min_tokens":"9"}"#,
    r#"{"max_tokens":1,"model":"m","min_tokens":"9"}"#
)]
#[case::huge_minimum(
    r#"{"model":"m","min_tokens":9007199254740993123}"#,
    r#"{"max_tokens":1,"model":"m","min_tokens":1}"#
)]
#[case::everything_twice(
    r#"{"max_tokens":7,"model":"m","stream":true,"max_tokens":8,"stream":true}"#,
    r#"{"max_tokens":1,"model":"m","max_tokens":1}"#
)]
#[case::escaped_names(
    r#"{"str\u0065am":true,"model":"m","max\u005ftokens":9}"#,
    r#"{"model":"m","max\u005ftokens":1}"#
)]
#[case::nested_names_stay(
    r#"{"model":"m","x":{"stream":true,"max_tokens":5}}"#,
    r#"{"max_tokens":1,"model":"m","x":{"stream":true,"max_tokens":5}}"#
)]
#[case::numbers_and_text_stay(
    r#"{"model":"m","seed":9007199254740993123,"t":1.50,"e":1E+2,"prompt":"ü\u0041\/"}"#,
    r#"{"max_tokens":1,"model":"m","seed":9007199254740993123,"t":1.50,"e":1E+2,"prompt":"ü\u0041\/"}"#
)]
fn the_prefill_body(#[case] body: &str, #[case] expected: &str) {
    for connector in [Connector::Http, Connector::Lmcache] {
        assert_eq!(prefill(connector, body, COMPLETIONS, None), expected);
    }
}

#[rstest]
#[case::in_the_way_of_nixl(Connector::Nixl, r#"{"max_tokens":1,"model":"m","kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false}}"#)]
#[case::in_the_way_of_mooncake(Connector::Mooncake, r#"{"max_tokens":1,"model":"m","kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false}}"#)]
#[case::not_in_the_way(
    Connector::Http,
    r#"{"max_tokens":1,"model":"m","kv_transfer_params":{"mine":1}}"#
)]
fn transfer_parameters_of_a_client(#[case] connector: Connector, #[case] expected: &str) {
    let body = r#"{"model":"m","kv_transfer_params":{"mine":1}}"#;

    assert_eq!(prefill(connector, body, COMPLETIONS, None), expected);
}

#[test]
fn the_prefill_body_of_nixl_and_of_sglang() {
    let body = r#"{"model":"m","bootstrap_room":5}"#;

    assert_eq!(
        prefill(Connector::Nixl, body, COMPLETIONS, Some("served")),
        r#"{"max_tokens":1,"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false},"model":"served","bootstrap_room":5}"#
    );
    assert_eq!(
        prefill(Connector::Sglang, body, COMPLETIONS, Some("served")),
        r#"{"max_tokens":1,"model":"served","bootstrap_room":77}"#
    );
}

#[test]
fn a_responses_prefill_is_bounded_under_its_own_name() {
    let body = r#"{"model":"m","max_output_tokens":900}"#;

    assert_eq!(
        prefill(Connector::Http, body, "/v1/responses", None),
        r#"{"max_tokens":1,"model":"m","max_output_tokens":1}"#
    );
    assert_eq!(
        prefill(Connector::Http, body, COMPLETIONS, None),
        r#"{"max_tokens":1,"model":"m","max_output_tokens":900}"#
    );
}

#[rstest]
#[case::whole(
    Connector::Http,
    r#"{"model":"m","max_tokens":9}"#,
    r#"{"include_usage":true,"model":"served","max_tokens":9}"#,
    false
)]
#[case::streamed(
    Connector::Lmcache,
    r#"{"model":"m","stream":true}"#,
    r#"{"stream_options":{"include_usage":true},"model":"served","stream":true}"#,
    true
)]
#[case::siblings_stay(
    Connector::Http,
    r#"{"model":"m","stream":true,"stream_options":{"x":1}}"#,
    r#"{"model":"served","stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
    true
)]
#[case::asked_for(
    Connector::Http,
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
    r#"{"model":"served","stream":true,"stream_options":{"include_usage":true}}"#,
    false
)]
#[case::nixl(
    Connector::Nixl,
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
    r#"{"kv_transfer_params":{"remote_block_ids":[9007199254740993123], "x":1.0},"model":"served","stream":true,"stream_options":{"include_usage":true}}"#,
    false
)]
#[case::mooncake_replaces_what_the_client_sent(
    Connector::Mooncake,
    r#"{"model":"m","kv_transfer_params":7,"include_usage":true}"#,
    r#"{"model":"served","kv_transfer_params":{"remote_block_ids":[9007199254740993123], "x":1.0},"include_usage":true}"#,
    false
)]
#[case::sglang(
    Connector::Sglang,
    r#"{"model":"m","bootstrap_host":"h","include_usage":true}"#,
    r#"{"bootstrap_room":77,"model":"served","bootstrap_host":"10.0.0.7","include_usage":true}"#,
    false
)]
fn the_decode_body(
    #[case] connector: Connector,
    #[case] body: &str,
    #[case] expected: &str,
    #[case] hides: bool,
) {
    let answer =
        r#"{"kv_transfer_params":{"remote_block_ids":[9007199254740993123], "x":1.0},"id":1}"#;

    assert_eq!(
        decode(connector, body, answer, Some("served")),
        (expected.to_owned(), hides)
    );
}

#[test]
fn parameters_that_never_came_are_null() {
    let (text, _) = decode(
        Connector::Nixl,
        r#"{"model":"m","include_usage":true}"#,
        "{}",
        None,
    );

    assert_eq!(
        text,
        r#"{"kv_transfer_params":null,"model":"m","include_usage":true}"#
    );
}

type Object = BTreeMap<String, Box<RawValue>>;

fn parse(text: &str) -> BTreeMap<String, String> {
    let object: Object = serde_json::from_str(text).unwrap();
    object
        .into_iter()
        .map(|(name, value)| (name, value.get().to_owned()))
        .collect()
}

fn name() -> impl Strategy<Value = &'static str> {
    // Some as their names are written, some with escapes, some that nobody edits.
    select(
        &[
            "stream",
            "str\\u0065am",
            "stream_options",
            "max_tokens",
            "max\\u005Ftokens",
            "max_completion_tokens",
            "min_tokens",
            "n",
            "\\u006e",
            "best_of",
            "max_output_tokens",
            "kv_transfer_params",
            "bootstrap_room",
            "bootstrap_host",
            "model",
            "temperature",
            "\\ud83d\\ude00",
            "",
        ][..],
    )
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        select(
            &[
                "null",
                "true",
                "false",
                "0",
                "1",
                "2",
                "-3",
                "1.50",
                "1E+3",
                "9007199254740993123"
            ][..]
        )
        .prop_map(str::to_owned),
        Just(r#"{"stream": true, "x": [1,{"n":2}]}"#.to_owned()),
        Just(r#"{"include_usage":false}"#.to_owned()),
        Just("[ ]".to_owned()),
        "[a-z{}\\[\\],:]{0,6}".prop_map(|text| format!("\"{text}\"")),
        Just(r#""\"\\\u00e9,}""#.to_owned()),
    ]
}

/// A JSON object with a model, in any order, with any spaces, with names that occur twice.
fn body() -> impl Strategy<Value = String> {
    let space = || select(&["", " ", "\n\t"][..]);
    let member = (space(), name(), space(), value(), space())
        .prop_map(|(a, name, b, value, c)| format!("{a}\"{name}\"{b}:{value}{c}"));
    let members = prop::collection::vec(member, 0..10);
    (members, 0..11_usize, space()).prop_map(|(mut members, at, space)| {
        // The last `model` counts and must be a text.
        members.retain(|member| !member.contains("\"model\""));
        let at = at.min(members.len());
        members.insert(at, "\"model\":\"m\"".to_owned());
        format!("{space}{{{}}}{space}", members.join(","))
    })
}

fn connector() -> impl Strategy<Value = Connector> {
    select(
        &[
            Connector::Http,
            Connector::Lmcache,
            Connector::Nixl,
            Connector::Mooncake,
            Connector::Sglang,
        ][..],
    )
}

fn is_above_one(literal: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(literal)
        .ok()
        .and_then(|value| value.as_f64())
        .is_some_and(|number| number > 1.0)
}

proptest! {
    /// The edited text holds what a decoded object would after the same changes, every value as it was written.
    #[test]
    fn a_prefill_body_is_the_edited_object(
        body in body(), connector in connector(), served in select(&[None, Some("served")][..]), responses in prop::bool::ANY,
    ) {
        let path = if responses { "/v1/responses" } else { COMPLETIONS };
        let text = prefill(connector, &body, path, served);

        let mut expected = parse(&body);
        expected.remove("stream");
        expected.remove("stream_options");
        let one = || "1".to_owned();
        expected.insert("max_tokens".to_owned(), one());
        for name in ["n", "best_of"] {
            expected.entry(name.to_owned()).and_modify(|value| *value = one());
        }
        expected.entry("max_completion_tokens".to_owned()).and_modify(|value| if *value != "null" { *value = one() });
        expected.entry("min_tokens".to_owned()).and_modify(|value| if is_above_one(value) { *value = one() });
        if responses {
            expected.insert("max_output_tokens".to_owned(), one());
        }
        match connector {
            Connector::Http | Connector::Lmcache => {}
            Connector::Nixl | Connector::Mooncake => {
                let params = r#"{"do_remote_decode":true,"do_remote_prefill":false}"#;
                expected.insert("kv_transfer_params".to_owned(), params.to_owned());
            }
            Connector::Sglang => {
                expected.insert("bootstrap_room".to_owned(), "77".to_owned());
            }
        }
        if let Some(served) = served {
            expected.insert("model".to_owned(), format!("\"{served}\""));
        }
        prop_assert_eq!(parse(&text), expected);
    }

    #[test]
    fn a_decode_body_is_the_edited_object(body in body(), connector in connector()) {
        let (text, _) = decode(connector, &body, r#"{"kv_transfer_params":{"a": 1.0}}"#, None);

        let mut expected = parse(&body);
        match connector {
            Connector::Http | Connector::Lmcache => {}
            Connector::Nixl | Connector::Mooncake => {
                expected.insert("kv_transfer_params".to_owned(), r#"{"a": 1.0}"#.to_owned());
            }
            Connector::Sglang => {
                expected.insert("bootstrap_room".to_owned(), "77".to_owned());
                expected.insert("bootstrap_host".to_owned(), "\"10.0.0.7\"".to_owned());
            }
        }
        // How usage is asked for has a test of its own.
        let without_wish = |mut object: BTreeMap<String, String>| {
            object.remove("include_usage");
            object.remove("stream_options");
            object
        };
        prop_assert_eq!(without_wish(parse(&text)), without_wish(expected));
    }
}
