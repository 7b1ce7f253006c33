use std::io;

use kthena_router_pipeline::UpstreamFault::{self, Handshake, Untrusted};
use rstest::rstest;
use rustls::CertificateError as Bad;
use rustls::{Error, InvalidMessage};

use super::*;

#[rstest]
#[case::no_authority(
    Error::InvalidCertificate(Bad::UnknownIssuer),
    Untrusted,
    "--engine-ca-cert"
)]
#[case::other_name(
    Error::InvalidCertificate(Bad::NotValidForName),
    Untrusted,
    "--engine-tls-server-name"
)]
#[case::expired(Error::InvalidCertificate(Bad::Expired), Untrusted, "renew")]
#[case::too_early(Error::InvalidCertificate(Bad::NotValidYet), Untrusted, "clocks")]
#[case::no_tls(
    Error::InvalidMessage(InvalidMessage::InvalidContentType),
    Handshake,
    "workloadPort.protocol"
)]
fn a_failed_handshake_says_what_helps(
    #[case] cause: Error,
    #[case] fault: UpstreamFault,
    #[case] help: &str,
) {
    let (judged, told) = judge(&io::Error::new(io::ErrorKind::InvalidData, cause));

    assert_eq!(judged, fault);
    assert!(told.contains(help), "{told}");
}

#[test]
fn a_connection_that_breaks_says_nothing_about_certificates() {
    let (fault, _) = judge(&io::ErrorKind::ConnectionReset.into());
    assert_eq!(fault, Handshake);
}

#[test]
fn what_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let with = |authorities: Option<&PathBuf>, name: Option<&str>| {
        EngineTls::load(EngineTrust {
            authorities: authorities.cloned(),
            name: name.map(str::to_owned),
            ..EngineTrust::default()
        })
    };

    assert!(matches!(
        with(Some(&file), None),
        Err(TlsError::Unreadable { .. })
    ));
    std::fs::write(&file, "nothing").unwrap();
    assert!(matches!(
        with(Some(&file), None),
        Err(TlsError::Malformed { .. })
    ));
    assert!(matches!(
        with(None, Some("not a name")),
        Err(TlsError::BadName { .. })
    ));
    assert!(with(None, Some("engines.example")).is_ok());
}

#[test]
fn tickets_are_kept_for_so_many_engines_and_no_more() {
    let tls = EngineTls::load(EngineTrust {
        check: CertificateCheck::Off,
        ..EngineTrust::default()
    })
    .unwrap();
    for port in 0..3000 {
        tls.config_for(([127, 0, 0, 1], port).into()).unwrap();
    }
    assert!(tls.lock().tickets.len() <= TICKETS_OF);
}
