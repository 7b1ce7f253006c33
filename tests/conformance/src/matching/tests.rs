use rstest::rstest;
use serde_json::{Value, json};

use super::differences;

#[rstest]
#[case::fields_may_be_more(json!({"a": 1}), json!({"a": 1, "b": 2}), true)]
#[case::lists_have_the_same_length(json!([1]), json!([1, 2]), false)]
#[case::numbers_compare_by_value(json!(1), json!(1.0), true)]
#[case::absent_field(json!({"a": {"$absent": true}}), json!({}), true)]
#[case::null_is_not_absent(json!({"a": {"$absent": true}}), json!({"a": null}), false)]
#[case::has_finds_any_item(json!({"$has": [{"a": 2}]}), json!([{"a": 1}, {"a": 2}]), true)]
#[case::lacks_refuses_any_item(json!({"$lacks": [{"a": 2}]}), json!([{"a": 1}, {"a": 2}]), false)]
#[case::above_reads_text(json!({"$above": "9"}), json!("10"), true)]
#[case::pattern(json!({"$matches": "^a.c$"}), json!("abc"), true)]
#[case::size_of_an_object(json!({"$size": 2}), json!({"a": 1, "b": 2}), true)]
#[case::unknown_rule_never_holds(json!({"$what": 2}), json!(2), false)]
fn compares(#[case] expected: Value, #[case] actual: Value, #[case] holds: bool) {
    assert_eq!(differences(&expected, Some(&actual)).is_empty(), holds);
}
