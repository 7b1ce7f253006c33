use rstest::rstest;

use super::{Head, read};

fn head(name: &str, namespace: &str, uid: &str, version: &str) -> Head {
    Head {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        uid: uid.to_owned(),
        resource_version: version.to_owned(),
    }
}

#[rstest]
#[case::in_the_order_of_kubernetes(
    r#"{"kind":"Pod","metadata":{"name":"a","namespace":"ns","uid":"u","resourceVersion":"7","labels":{}},"spec":{}}"#,
    head("a", "ns", "u", "7")
)]
#[case::in_the_order_of_the_alphabet(
    r#"{"metadata":{"labels":{"name":"no"},"name":"a","namespace":"ns","resourceVersion":"7","uid":"u"}}"#,
    head("a", "ns", "u", "7")
)]
#[case::metadata_last(
    r#"{"spec":{"metadata":{"name":"template"}},"metadata":{"uid":"u","resourceVersion":"7","name":"a","namespace":"ns"}}"#,
    head("a", "ns", "u", "7")
)]
#[case::without_a_namespace(
    r#"{"metadata":{"name":"a","uid":"u","resourceVersion":"7"},"spec":{}}"#,
    head("a", "", "u", "7")
)]
#[case::a_bookmark(r#"{"metadata":{"resourceVersion":"7"}}"#, head("", "", "", "7"))]
#[case::nothing_at_all("{}", head("", "", "", ""))]
#[case::an_escaped_name(
    r#"{"metadata":{"name":"\u0061","namespace":"ns","uid":"u","resourceVersion":"7"}}"#,
    head("a", "ns", "u", "7")
)]
#[case::what_follows_is_not_looked_at(
    r#"{"metadata":{"name":"a","namespace":"ns","uid":"u","resourceVersion":"7", broken"#,
    head("a", "ns", "u", "7")
)]
fn finds_the_head(#[case] object: &str, #[case] expected: Head) {
    assert_eq!(read(object).unwrap(), expected);
}

#[rstest]
#[case::no_object("[]")]
#[case::torn_before_the_version(
    r#"{"metadata":{"name":"a","namespace":"ns","uid":"u","resourceVer"#
)]
#[case::a_number_as_name(r#"{"metadata":{"name":1}}"#)]
fn says_so_if_there_is_none(#[case] object: &str) {
    read(object).unwrap_err();
}
