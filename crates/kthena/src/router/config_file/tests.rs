use super::load;

#[test]
fn a_file_that_was_asked_for_must_be_there_and_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routerConfiguration.yaml");

    let missing = format!("{:#}", load(Some(&path)).unwrap_err());
    assert!(missing.contains("routerConfiguration.yaml"), "{missing}");

    std::fs::write(&path, "auth: {issuer: 3}").unwrap();
    let faulty = format!("{:#}", load(Some(&path)).unwrap_err());
    assert!(faulty.contains("auth.issuer"), "{faulty}");

    std::fs::write(&path, "auth: {}").unwrap();
    load(Some(&path)).unwrap();
}
