use rstest::rstest;

use super::{load, parse};

#[rstest]
#[case::authentication("auth: {jwksUri: https://issuer/keys}", &["auth.jwksUri"])]
#[case::no_yaml("a: [", &[])]
#[case::no_mapping("just a text", &["mapping"])]
#[case::all_at_once(
    "{auth: {jwksUri: https://issuer/keys, issuer: 3, audiences: one}, scheduler: {}}",
    &["auth.jwksUri", "auth.issuer", "auth.audiences", "scheduler.plugins.Score", "4 faults"]
)]
fn what_stops_the_start(#[case] text: &str, #[case] named: &[&str]) {
    let error = parse(text).unwrap_err().to_string();

    for name in named {
        assert!(error.contains(name), "{error}");
    }
}

#[rstest]
#[case::empty("")]
#[case::no_authentication("auth: {jwksUri: \"\", audiences: []}")]
#[case::keys_of_other_releases("tracing: {endpoint: somewhere}")]
fn what_is_taken(#[case] text: &str) {
    parse(text).unwrap();
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routerConfiguration.yaml");

    let error = format!("{:#}", load(Some(&path)).unwrap_err());
    assert!(error.contains("routerConfiguration.yaml"), "{error}");

    std::fs::write(&path, "auth: {}").unwrap();
    load(Some(&path)).unwrap();
}
