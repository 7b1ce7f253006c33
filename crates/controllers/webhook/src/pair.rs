//! Certificates and their keys: making, judging and serving them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// Common name of the authorities made here; tells them from those that others made.
const AUTHORITY: &str = "kthena-webhook-ca";
const ORGANIZATION: &str = "Volcano";
/// How long what is made here is good for, in days.
const VALIDITY: i64 = 3650;
/// A certificate that ends sooner is renewed.
const MARGIN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A certificate and its private key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A pair and the authority that vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) pair: Pair,
    pub(crate) authority: String,
}

/// Why a pair cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    /// There is nobody to make it for.
    #[error("dnsNames cannot be empty")]
    NoNames,
    /// It cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The text is no certificate or key.
    #[error("certificate or key cannot be read: {0}")]
    Pem(#[from] pem::Error),
    /// The time is out of range.
    #[error("cannot tell until when a certificate is good: {0}")]
    Time(#[from] jiff::Error),
    /// Certificate and key do not go together.
    #[error("certificate and key cannot be used: {0}")]
    Use(#[from] rustls::Error),
}

/// The names of a service inside the cluster.
pub(crate) fn names(service: &str, namespace: &str) -> Vec<String> {
    vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
    ]
}

impl Made {
    /// Makes an authority that signs one certificate and is forgotten but for its name.
    pub(crate) fn new(names: &[String], now: Timestamp) -> Result<Self, PairError> {
        let first = names.first().ok_or(PairError::NoNames)?;
        let authority_key = KeyPair::generate()?;
        let mut authority = params(&[], AUTHORITY, now)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::KeyEncipherment,
        ];
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate()?;
        let mut leaf = params(names, first, now)?;
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let pair = Pair {
            certificate: leaf.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem(),
        };
        Ok(Self {
            pair,
            authority: authority_pem,
        })
    }
}

fn params(names: &[String], name: &str, now: Timestamp) -> Result<CertificateParams, PairError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, ORGANIZATION);
    // Whole days, a day early: clocks differ.
    let (year, month, day) = date(now - SignedDuration::from_hours(24));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = date(now + SignedDuration::from_hours(24 * VALIDITY));
    params.not_after = rcgen::date_time_ymd(year, month, day);
    Ok(params)
}

fn date(at: Timestamp) -> (i32, u8, u8) {
    let day = at.to_zoned(jiff::tz::TimeZone::UTC).date();
    (
        day.year().into(),
        day.month().unsigned_abs(),
        day.day().unsigned_abs(),
    )
}

impl Pair {
    /// What handshakes are made with.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, PairError> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// What is wrong with this pair for a server of these names, so that it should be renewed.
    pub(crate) fn fault(&self, names: &[String], now: Timestamp) -> Option<String> {
        if let Err(error) = self.acceptor() {
            return Some(error.to_string());
        }
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()?;
        let (_, leaf) = parse_x509_certificate(&der).ok()?;
        let ends = leaf.validity().not_after.timestamp();
        if ends < (now + MARGIN).as_second() {
            return Some("it ends within 30 days".to_owned());
        }
        let alternatives = leaf.subject_alternative_name().ok().flatten();
        let covered: Vec<&str> = alternatives
            .iter()
            .flat_map(|alternatives| &alternatives.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(*name),
                _ => None,
            })
            .collect();
        let missing = names
            .iter()
            .find(|name| !covered.contains(&name.as_str()))?;
        Some(format!("it is not for {missing}"))
    }
}

/// Whether all of these authorities were made here.
pub(crate) fn is_ours(authority: &str) -> bool {
    let mut all = CertificateDer::pem_slice_iter(authority.as_bytes()).peekable();
    all.peek().is_some()
        && all.all(|one| {
            let Ok(der) = one else { return false };
            parse_x509_certificate(&der).is_ok_and(|(_, certificate)| {
                let mut names = certificate.subject().iter_common_name();
                names.any(|name| name.as_str() == Ok(AUTHORITY))
            })
        })
}

/// The first of some authorities.
pub(crate) fn first(authorities: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    match authorities.find(END) {
        Some(end) => format!("{}\n", &authorities[..end + END.len()]),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
