use rstest::rstest;

use super::*;

#[rstest]
#[case::the_pod(&[("a", Some("1")), ("b", Some("1"))], Preference::Pod(1))]
#[case::the_pod_in_another_group(&[("b", Some("2")), ("a", Some("1"))], Preference::Pod(0))]
#[case::its_group(&[("a", Some("1")), ("c", Some("2")), ("d", Some("1"))], Preference::Group(vec![0, 2]))]
#[case::neither(&[("a", Some("2")), ("c", None)], Preference::None)]
#[case::nobody(&[], Preference::None)]
fn prefers(#[case] candidates: &[(&str, Option<&str>)], #[case] expected: Preference) {
    let binding = Binding {
        server: "default/llama".into(),
        pod: "b".into(),
        group: Some("1".into()),
    };
    assert_eq!(binding.preference(candidates.iter().copied()), expected);
}

#[test]
fn no_group_is_not_a_group_in_common() {
    let binding = Binding {
        server: "default/llama".into(),
        pod: "b".into(),
        group: None,
    };
    assert_eq!(binding.preference([("a", None)]), Preference::None);
}
