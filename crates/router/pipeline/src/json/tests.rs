use proptest::prelude::{
    Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use rstest::rstest;
use serde_json::Value;

use super::*;

fn walk(text: &[u8]) -> Result<Kind, JsonFault> {
    let mut scanner = Scanner::new(text);
    let (kind, _) = scanner.value()?;
    match scanner.peek() {
        None => Ok(kind),
        Some(_) => scanner.fault(JsonProblem::Separator),
    }
}

fn chars(text: &str) -> u64 {
    match walk(text.as_bytes()).unwrap() {
        Kind::Text(text) => text.chars,
        other => panic!("{other:?} is no text"),
    }
}

#[rstest]
#[case::nothing("", 0, JsonProblem::End)]
#[case::open_object("{", 1, JsonProblem::End)]
#[case::name_without_quotes("{a:1}", 1, JsonProblem::Name)]
#[case::no_colon(r#"{"a" 1}"#, 5, JsonProblem::Colon)]
#[case::trailing_comma(r#"{"a":1,}"#, 7, JsonProblem::Name)]
#[case::trailing_comma_in_array("[1,]", 3, JsonProblem::Value)]
#[case::no_comma("[1 2]", 3, JsonProblem::Separator)]
#[case::wrong_bracket("[1}", 2, JsonProblem::Separator)]
#[case::open_string("\"a", 2, JsonProblem::End)]
#[case::raw_line_feed("\"a\nb\"", 2, JsonProblem::Control)]
#[case::raw_nul_late(concat!("\"0123456789012345678901234567890123456789", "\0", "\""), 41, JsonProblem::Control)]
#[case::unknown_escape(r#""\x""#, 1, JsonProblem::Escape)]
#[case::short_unicode_escape(r#""\u12g4""#, 5, JsonProblem::Escape)]
#[case::escape_at_the_end("\"\\", 2, JsonProblem::End)]
#[case::leading_zero("01", 1, JsonProblem::Separator)]
#[case::lone_minus("-", 1, JsonProblem::End)]
#[case::bare_fraction("1.x", 2, JsonProblem::Digit)]
#[case::bare_exponent("1e+", 3, JsonProblem::End)]
#[case::misspelt("nul", 3, JsonProblem::End)]
#[case::capitalised("True", 0, JsonProblem::Value)]
#[case::single_quotes("'a'", 0, JsonProblem::Value)]
fn faults_and_their_positions(
    #[case] text: &str,
    #[case] position: usize,
    #[case] problem: JsonProblem,
) {
    assert_eq!(walk(text.as_bytes()), Err(JsonFault { position, problem }));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);

    assert_eq!(walk(nested(512).as_bytes()), Ok(Kind::Array));
    assert_eq!(
        walk(nested(513).as_bytes()).unwrap_err().problem,
        JsonProblem::Depth
    );
}

#[rstest]
#[case::plain(r#""hello""#, 5)]
#[case::two_bytes("\"\u{e9}\u{e9}\"", 2)]
#[case::four_bytes("\"\u{1f600}\"", 1)]
#[case::short_escapes(r#""\n\"\\\/""#, 4)]
#[case::unicode_escape(r#""\u00e9x""#, 2)]
#[case::surrogate_pair(r#""\ud83d\ude00""#, 1)]
#[case::lone_high_surrogate(r#""\ud83dx""#, 2)]
#[case::two_high_surrogates(r#""\ud83d\ud83d""#, 2)]
#[case::long_run(
    "\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"",
    160
)]
fn lengths_of_texts(#[case] text: &str, #[case] expected: u64) {
    assert_eq!(chars(text), expected);
}

#[test]
fn escaped_names_are_recognised() {
    let scanner = Scanner::new(br#""mod\u0065l""#);
    let text = Text {
        start: 1,
        end: 11,
        chars: 5,
        escaped: true,
    };

    assert!(scanner.is(text, "model"));
    assert_eq!(scanner.decode(text), "model");
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_an_encoder_writes_is_accepted_whole(value in json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut scanner = Scanner::new(text.as_bytes());
        let (_, span) = scanner.value().unwrap();
        prop_assert_eq!(span, 0..text.len());
    }

    #[test]
    fn a_text_has_as_many_characters_as_its_decoded_form(text: String) {
        let encoded = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(chars(&encoded), text.chars().count() as u64);
    }

    #[test]
    fn any_bytes_are_judged_as_a_decoder_judges_them(text in "[\\[\\]{}:,\"\\\\a0-9eE+.ntrufls \\-]{0,24}") {
        let decoded = serde_json::from_str::<serde::de::IgnoredAny>(&text);
        // A lone surrogate is text to the walk and an error to the decoder.
        if !text.contains("\\u") {
            prop_assert_eq!(walk(text.as_bytes()).is_ok(), decoded.is_ok(), "{}", text);
        }
    }

    #[test]
    fn no_bytes_make_it_fail_in_any_other_way(bytes: Vec<u8>) {
        let mut scanner = Scanner::new(&bytes);
        if let Err(fault) = scanner.value() {
            prop_assert!(fault.position <= bytes.len());
        }
    }
}
