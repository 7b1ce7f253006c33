use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn certificates_survive_a_restart_and_the_key_is_private() {
    let folder = tempfile::tempdir().unwrap();

    let first = Certificates::load_or_make(folder.path()).unwrap();
    let second = Certificates::load_or_make(folder.path()).unwrap();

    assert_eq!(first.authority, second.authority);
    assert!(second.server_config().is_ok());
    let key = fs::metadata(folder.path().join("tls.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}
