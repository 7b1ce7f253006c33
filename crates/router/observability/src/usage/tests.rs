use proptest::prelude::{prop, prop_assert_eq, proptest};
use rstest::rstest;

use super::*;

fn read(payload: &str, cut: usize) -> Option<Usage> {
    let mut tap = UsageTap::default();
    for segment in payload.as_bytes().chunks(cut) {
        tap.feed(segment);
    }
    tap.usage()
}

#[rstest]
#[case::chat(r#"{"usage":{"prompt_tokens":256,"total_tokens":264,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":0}}}"#, Some((256, 8)))]
#[case::spaces("{ \"usage\" : \n { \"prompt_tokens\" : 1, \"completion_tokens\" : 2 } }", Some((1, 2)))]
#[case::responses(r#"{"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7,"input_tokens_details":{"cached_tokens":1}}}"#, Some((3, 4)))]
#[case::anthropic(r#"{"usage":{"input_tokens":3,"cache_creation_input_tokens":2,"cache_read_input_tokens":5,"output_tokens":4}}"#, Some((10, 4)))]
#[case::anthropic_stream("data: {\"message\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\ndata: {\"usage\":{\"output_tokens\":9}}\n\n", Some((3, 9)))]
#[case::cumulative("{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}} {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}", Some((1, 2)))]
#[case::null(r#"{"usage":null}"#, None)]
#[case::nothing_counted(r#"{"usage":{"total_tokens":0}}"#, None)]
#[case::inside_a_text(r#"{"content":"\"usage\":{\"prompt_tokens\":1}"}"#, None)]
#[case::as_a_value(r#"{"token":"usage","x":{"prompt_tokens":1}}"#, None)]
#[case::braces_inside_a_text(r#"{"usage":{"x":"}{\"","prompt_tokens":1}}"#, Some((1, 0)))]
#[case::never_closed(r#"{"usage":{"prompt_tokens":1"#, None)]
fn reports(#[case] payload: &str, #[case] expected: Option<(u64, u64)>) {
    let expected = expected.map(|(prompt, completion)| Usage { prompt, completion });
    for cut in 1..=payload.len() {
        assert_eq!(read(payload, cut), expected, "cut into {cut}");
    }
}

#[test]
fn an_object_that_never_closes_is_not_kept() {
    let mut tap = UsageTap::default();
    tap.feed(b"{\"usage\":{");
    for _ in 0..100 {
        tap.feed(&[b'x'; 1000]);
    }

    assert!(tap.carry.len() <= LONGEST);
    tap.feed(b"\"usage\":{\"prompt_tokens\":5}");
    assert_eq!(tap.usage().map(|usage| usage.prompt), Some(5));
}

#[rstest]
#[case::nothing("data: {}", false)]
#[case::null(r#"{"usage":null}"#, false)]
#[case::object(r#"{"usage":{}}"#, true)]
#[case::cut_off(r#"{"usage":"#, true)]
#[case::second_of_two(r#"{"usage":null}{"usage": {}}"#, true)]
fn candidates(#[case] text: &str, #[case] expected: bool) {
    assert_eq!(may_report(text.as_bytes()), expected);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(parts in prop::collection::vec("([a-z{}:,\"]{0,6}|\"usage\":|\\{\"prompt_tokens\":[1-9]\\})", 0..12), cut in 1_usize..40) {
        let payload = parts.concat();
        prop_assert_eq!(read(&payload, cut), read(&payload, payload.len().max(1)), "{}", payload);
    }
}
