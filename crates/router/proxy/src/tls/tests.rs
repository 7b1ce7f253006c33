use std::path::Path;
use std::time::Duration;

use rstest::rstest;
use rustls::ServerConfig;

use super::{Tls, TlsError, TlsFiles};

fn files(folder: &Path) -> TlsFiles {
    TlsFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
        reload: Duration::from_secs(1),
    }
}

fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn write(files: &TlsFiles, certificate: &str, key: &str) {
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
}

#[rstest]
#[case::no_certificate("", None, "holds no certificate")]
#[case::no_key("good", Some(""), "holds no private key")]
#[case::key_of_another("good", None, "cannot be used")]
fn what_cannot_be_used(
    #[case] certificate: &str,
    #[case] key: Option<&str>,
    #[case] complaint: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let (good, _) = pair();
    let (_, other_key) = pair();
    let certificate = if certificate == "good" {
        &good
    } else {
        certificate
    };
    write(&files, certificate, key.unwrap_or(&other_key));

    let error = Tls::load(files).unwrap_err();

    assert!(error.to_string().contains(complaint), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();

    let error = Tls::load(files(folder.path())).unwrap_err();

    assert!(matches!(error, TlsError::Unreadable { .. }));
    assert!(error.to_string().contains("tls.crt"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn only_a_usable_pair_replaces_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let (first, first_key) = pair();
    write(&files, &first, &first_key);
    let tls = Tls::load(files.clone()).unwrap();
    let config = || -> *const ServerConfig { &raw const **tls.config.load() };
    let before = config();

    let (second, second_key) = pair();
    let following = async {
        let look = || tokio::time::sleep(Duration::from_secs(3));
        look().await;
        assert_eq!(config(), before, "nothing changed");
        write(&files, &second, &first_key);
        look().await;
        assert_eq!(config(), before, "half of a pair is no pair");
        std::fs::remove_file(&files.key).unwrap();
        look().await;
        assert_eq!(config(), before, "a file that is gone changes nothing");
        write(&files, &second, &second_key);
        look().await;
        assert_ne!(config(), before, "the new pair is served");
    };
    tokio::select! {
        () = tls.follow() => {}
        () = following => {}
    }
}
