//! Makes and keeps the certificates of the loopback listener.
//!
//! kubectl sends its bearer token only over TLS, so the listener speaks TLS with a certificate of an authority that is
//! made once per state folder and goes into the kubeconfig. Both live until the folder is removed.
//!
//! # Invariants
//!
//! - The private key is readable by its owner only, from the first byte on.
//! - The authority's key is never written: it signs one certificate and is forgotten.

#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// Names and addresses under which a loopback listener is reached.
const NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The files cannot be read or written.
    #[error("cannot keep the certificates in the state folder")]
    Files(#[from] io::Error),
    /// Key or certificate could not be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// The kept files hold something else.
    #[error("the certificate files in the state folder are damaged")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Key and certificate do not fit.
    #[error("the certificate cannot be used")]
    Use(#[from] rustls::Error),
}

/// The listener's certificate, its key and the authority that clients are to trust.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    /// The authority in PEM, for kubeconfigs.
    pub(crate) authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    /// Reads the certificates kept in `folder`, or makes and keeps them there.
    pub(crate) fn load_or_make(folder: &Path) -> Result<Self, TlsError> {
        fs::create_dir_all(folder)?;
        let read = |name: &str| fs::read_to_string(folder.join(name));
        if let (Ok(authority), Ok(certificate), Ok(key)) =
            (read("ca.crt"), read("tls.crt"), read("tls.key"))
        {
            Ok(Self {
                authority,
                certificate,
                key,
            })
        } else {
            let made = Self::make()?;
            write_private(&folder.join("tls.key"), &made.key)?;
            fs::write(folder.join("tls.crt"), &made.certificate)?;
            fs::write(folder.join("ca.crt"), &made.authority)?;
            Ok(made)
        }
    }

    fn make() -> Result<Self, TlsError> {
        let authority_key = KeyPair::generate()?;
        let mut issuer = CertificateParams::default();
        issuer
            .distinguished_name
            .push(DnType::CommonName, "kthena-local-ca");
        issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = issuer.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(issuer, authority_key);

        let key = KeyPair::generate()?;
        let names: Vec<String> = NAMES.iter().map(ToString::to_string).collect();
        let mut server = CertificateParams::new(names)?;
        server
            .distinguished_name
            .push(DnType::CommonName, "kthena-local");
        Ok(Self {
            authority,
            certificate: server.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// The listener's side of TLS, offering HTTP/2 and HTTP/1.1.
    pub(crate) fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Writes a file that only its owner may read, replacing an older one at once.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    // A draft left by a crash may have other permissions.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
