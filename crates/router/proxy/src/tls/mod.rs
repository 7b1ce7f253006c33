//! TLS towards clients, with files that may be replaced while connections are open.
//!
//! # Invariants
//!
//! - A pair that cannot be used never replaces one that can.
//! - A connection keeps the pair it began with; each new handshake uses the newest.
//!
//! # Where to go next
//!
//! `engines` for TLS in the other direction.

mod engines;
mod verifier;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::TlsAcceptor;

pub(crate) use engines::EngineTls;
pub use engines::{CertificateCheck, EngineTrust};

/// Where certificate and key of a listener are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that vouch for it, leaf first, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// How often the files are looked at for a new pair.
    pub reload: Duration,
}

/// Why a pair of files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {what}")]
    Malformed {
        /// Which one.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What the parser said.
        #[source]
        source: pem::Error,
    },
    /// Certificate and key do not go together, or are of a kind that is not served.
    #[error("certificate and key cannot be used")]
    Unusable(#[source] rustls::Error),
    /// What certificates should be for is neither a DNS name nor an address.
    #[error("{name:?} is no name that a certificate can be for")]
    BadName {
        /// As configured.
        name: String,
        /// What the parser said.
        #[source]
        source: rustls::pki_types::InvalidDnsNameError,
    },
}

/// The bytes of both files.
#[derive(Debug, PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What handshakes are made with.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
}

impl TlsFiles {
    fn read(&self) -> Result<Pair, TlsError> {
        Ok(Pair {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    fn parse(&self, pair: &Pair) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = certificates(&self.certificate, &pair.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&pair.key)
            .map_err(malformed(&self.key, "private key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn malformed(path: &Path, what: &'static str) -> impl FnOnce(pem::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Malformed { path, what, source }
}

/// The certificates in `text`, at least one. It stood at `path`.
fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|found| {
            if found.is_empty() {
                return Err(pem::Error::NoItemsFound);
            }
            Ok(found)
        })
        .map_err(malformed(path, "certificate"))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

impl Tls {
    /// Reads the pair for the first time.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let pair = files.read()?;
        Ok(Self {
            config: ArcSwap::new(files.parse(&pair)?),
            files,
        })
    }

    /// What the next handshake is made with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Looks for new pairs for ever.
    pub(crate) async fn follow(&self) {
        // What was there last, usable or not, so that each fault is told once.
        let mut last = self.files.read().ok();
        let mut tick = tokio::time::interval(self.files.reload);
        loop {
            tick.tick().await;
            // Two small files; mounted Secrets change by a link that is replaced, which only contents show surely.
            match self.files.read() {
                Ok(pair) if last.as_ref() == Some(&pair) => {}
                Ok(pair) => {
                    match self.files.parse(&pair) {
                        Ok(config) => {
                            self.config.store(config);
                            tracing::info!("serving a new certificate");
                        }
                        Err(error) => complain(&error),
                    }
                    last = Some(pair);
                }
                Err(error) if last.is_some() => {
                    complain(&error);
                    last = None;
                }
                Err(_) => {}
            }
        }
    }
}

fn complain(error: &TlsError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, cause, "the new certificate cannot be used; the last one stays");
}

#[cfg(test)]
mod tests;
