use rstest::rstest;

use super::*;

#[rstest]
#[case::given(r#"{"prompt_tokens":2,"completion_tokens":3,"total_tokens":9}"#, 9)]
#[case::summed(r#"{"prompt_tokens":2,"completion_tokens":3}"#, 5)]
#[case::embedding(r#"{"prompt_tokens":2,"total_tokens":2}"#, 2)]
#[case::empty("{}", 0)]
fn total(#[case] json: &str, #[case] expected: u64) {
    assert_eq!(
        serde_json::from_str::<Usage>(json).unwrap().total(),
        expected
    );
}

#[rstest]
#[case::known(r#"{"prompt_tokens_details":{"cached_tokens":7,"audio_tokens":0}}"#, 7)]
#[case::null_details(r#"{"prompt_tokens_details":null}"#, 0)]
#[case::null_count(r#"{"prompt_tokens_details":{"cached_tokens":null}}"#, 0)]
fn cached(#[case] json: &str, #[case] expected: u64) {
    let usage: Usage = serde_json::from_str(json).unwrap();
    assert_eq!(usage.cached_tokens(), expected);
}
