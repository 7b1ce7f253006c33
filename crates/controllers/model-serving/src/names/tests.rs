use rstest::rstest;

use super::{group, instance, ordinal, ordinal_under, pod, snapshot};

#[rstest]
#[case::plain("sample-0", Some(0))]
#[case::hyphens_inside("my-long-name-12", Some(12))]
#[case::no_digits("sample-x", None)]
#[case::no_hyphen("sample", None)]
#[case::trailing_hyphen("sample-", None)]
#[case::largest("a-2147483647", Some(i32::MAX))]
#[case::overflow("a-2147483648", None)]
#[case::sign("a-+1", None)]
fn r2_ordinal_is_the_number_after_the_last_hyphen(
    #[case] name: &str,
    #[case] expected: Option<i32>,
) {
    assert_eq!(ordinal(name), expected);
}

#[rstest]
#[case::own("sample", "sample-3", Some(3))]
#[case::of_another_serving("sample", "other-3", None)]
#[case::padded("sample", "sample-03", None)]
fn r2_only_names_of_the_parent_count(
    #[case] parent: &str,
    #[case] name: &str,
    #[case] expected: Option<i32>,
) {
    assert_eq!(ordinal_under(parent, name), expected);
}

#[test]
fn names_follow_the_published_pattern() {
    let group = group("sample", 0);
    let id = instance("prefill", 1);
    assert_eq!(pod(&group, &id, 0), "sample-0-prefill-1-0");
    assert_eq!(pod(&group, &id, 2), "sample-0-prefill-1-2");
    assert_eq!(snapshot("sample", "67b8d4b8c7"), "sample-67b8d4b8c7");
}
