use rstest::rstest;

use super::*;

#[rstest]
#[case::text(r#""a""#, Prompt::Text("a".into()), 1)]
#[case::texts(r#"["a","b"]"#, Prompt::Texts(vec!["a".into(), "b".into()]), 2)]
#[case::tokens("[1,2,3]", Prompt::Tokens(vec![1, 2, 3]), 1)]
#[case::token_lists("[[1],[2,3]]", Prompt::TokenLists(vec![vec![1], vec![2, 3]]), 2)]
#[case::empty("[]", Prompt::Tokens(vec![]), 1)]
fn prompt_shapes(#[case] json: &str, #[case] expected: Prompt, #[case] count: usize) {
    let prompt: Prompt = serde_json::from_str(json).unwrap();
    assert_eq!(prompt.count(), count);
    assert_eq!(serde_json::to_string(&prompt).unwrap(), json);
    assert_eq!(prompt, expected);
}

#[rstest]
#[case::mixed(r#"["a",1]"#)]
#[case::number("1")]
#[case::negative("[-1]")]
fn other_shapes_are_refused(#[case] json: &str) {
    assert!(serde_json::from_str::<Prompt>(json).is_err());
}
