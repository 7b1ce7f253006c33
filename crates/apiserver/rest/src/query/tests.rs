use rstest::rstest;

use super::*;

#[test]
fn decodes_escapes_and_plus_signs() {
    let query = Query::parse(Some(
        "labelSelector=app%3Dweb%2Ctier+in+%28a%2Cb%29&limit=5",
    ));

    assert_eq!(query.text("labelSelector"), Some("app=web,tier in (a,b)"));
    assert_eq!(query.number("limit"), Ok(Some(5)));
}

#[rstest]
#[case::absent("", None)]
#[case::bare("watch", Some(true))]
#[case::one("watch=1", Some(true))]
#[case::off("watch=false", Some(false))]
fn reads_flags(#[case] query: &str, #[case] expected: Option<bool>) {
    assert_eq!(
        Query::parse(Some(query)).optional_flag("watch"),
        Ok(expected)
    );
}

#[rstest]
#[case::flag("watch=maybe")]
#[case::number("timeoutSeconds=many")]
fn refuses_unreadable_read_options(#[case] query: &str) {
    assert!(ReadOptions::read(&Query::parse(Some(query))).is_err());
}

#[rstest]
#[case::dry_run("dryRun=Some")]
#[case::field_validation("fieldValidation=Sometimes")]
fn refuses_unreadable_write_options(#[case] query: &str) {
    assert!(WriteOptions::read(&Query::parse(Some(query)), OptionsKind::Create).is_err());
}
