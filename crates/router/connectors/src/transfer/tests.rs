use rstest::rstest;

use super::*;

#[rstest]
#[case::typical(
    r#"{"id":"x","kv_transfer_params": {"remote_engine_id":"e", "remote_block_ids":[1, 2],"remote_port":5600} ,"choices":[]}"#,
    r#"{"remote_engine_id":"e", "remote_block_ids":[1, 2],"remote_port":5600}"#
)]
#[case::numbers_of_any_size(
    r#"{"kv_transfer_params":{"id":9007199254740993123,"f":1.0e+2,"g":-0.10}}"#,
    r#"{"id":9007199254740993123,"f":1.0e+2,"g":-0.10}"#
)]
#[case::escapes_stay(r#"{"kv_transfer_params":{"h":"\u0041\/ü"}}"#, r#"{"h":"\u0041\/ü"}"#)]
#[case::escaped_name(r#"{"kv_transfer_par\u0061ms":[1]}"#, "[1]")]
#[case::last_of_two(r#"{"kv_transfer_params":1,"kv_transfer_params":2}"#, "2")]
#[case::null(r#"{"kv_transfer_params":null}"#, "null")]
#[case::only_at_the_top(r#"{"a":{"kv_transfer_params":1}}"#, "null")]
fn parameters_are_kept_as_written(#[case] answer: &str, #[case] expected: &str) {
    let params = TransferParams::read(answer.as_bytes()).unwrap();

    assert_eq!(params.into_text(), expected);
}

#[rstest]
#[case::nothing("")]
#[case::array("[]")]
#[case::null("null")]
#[case::text("\"x\"")]
#[case::cut_short(r#"{"kv_transfer_params":{"a":1}"#)]
#[case::stream("data: {}\n\n")]
#[case::two_values("{}{}")]
fn anything_but_an_object_is_refused(#[case] answer: &str) {
    assert_eq!(
        TransferParams::read(answer.as_bytes()),
        Err(BadPrefillAnswer)
    );
}
