//! TLS towards engines.
//!
//! # Invariants
//!
//! - The authorities of the system are read when the first engine speaks TLS, not before.
//! - Tickets are kept per engine: one engine's are of no use to another of the same name.
//! - A file that cannot be used never replaces one that can.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kthena_router_pipeline::UpstreamFault;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verifier::{Anybody, Vouched};
use super::{TlsError, certificates, read};

/// Engines whose tickets are kept.
const TICKETS_OF: usize = 1024;
/// Tickets kept per engine, which is as many as one may hand out at once.
const TICKETS: usize = 8;
/// Refused handshakes are told of at most this often: a fleet with a wrong certificate fails with every request.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How engines of a `ModelServer` with `protocol: https` prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineTrust {
    /// Certificates that are trusted beside the authorities of the system, PEM: of an authority, or an engine's own.
    pub authorities: Option<PathBuf>,
    /// What certificates must be for; `None` = the address of the pod.
    pub name: Option<String>,
    /// Whether certificates are looked at.
    pub check: CertificateCheck,
    /// How often the file is looked at for others.
    pub reload: Duration,
}

/// Whether certificates are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CertificateCheck {
    /// They must be valid, vouched for, and for the right name.
    #[default]
    Full,
    /// Any will do: what is said is encrypted, but perhaps for somebody else.
    Off,
}

impl Default for EngineTrust {
    fn default() -> Self {
        Self {
            authorities: None,
            name: None,
            check: CertificateCheck::Full,
            reload: Duration::from_secs(10),
        }
    }
}

/// Why no handshake can be made with anybody.
#[derive(Debug, thiserror::Error)]
enum Unprepared {
    #[error("no authority can be trusted")]
    Authorities(#[from] VerifierBuilderError),
    #[error("TLS cannot be used")]
    Tls(#[from] rustls::Error),
}

/// Shakes hands with engines.
#[derive(Debug, Default)]
pub(crate) struct EngineTls {
    trust: EngineTrust,
    name: Option<ServerName<'static>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Certificates given by hand.
    given: Vec<CertificateDer<'static>>,
    /// Made of them when the first engine asks for it.
    config: Option<Arc<ClientConfig>>,
    tickets: HashMap<SocketAddr, Resumption>,
    /// When somebody was last told of a handshake that failed.
    told: Option<Instant>,
}

impl EngineTls {
    /// Reads what is trusted beside the system's authorities.
    pub(crate) fn load(trust: EngineTrust) -> Result<Self, TlsError> {
        let name = trust.name.as_deref().map(parse_name).transpose()?;
        let given = match &trust.authorities {
            Some(path) => certificates(path, &read(path)?)?,
            None => Vec::new(),
        };
        Ok(Self {
            trust,
            name,
            state: Mutex::new(State {
                given,
                ..State::default()
            }),
        })
    }

    /// Makes `stream` a secure one, or says in the log what is wrong with the engine at `address` and what helps.
    pub(crate) async fn shake_hands(
        &self,
        address: SocketAddr,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, UpstreamFault> {
        let config = match self.config_for(address) {
            Ok(config) => config,
            Err(error) => {
                self.tell(address, &error, "name one with --engine-ca-cert");
                return Err(UpstreamFault::Untrusted);
            }
        };
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| ServerName::from(address.ip()));
        TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| {
                let (fault, help) = judge(&error);
                self.tell(address, &error, help);
                fault
            })
    }

    /// Looks for other certificates to trust for ever.
    pub(crate) async fn follow(&self) {
        let Some(path) = &self.trust.authorities else {
            return std::future::pending().await;
        };
        let mut last = None;
        let mut tick = tokio::time::interval(self.trust.reload);
        loop {
            tick.tick().await;
            let found = read(path).and_then(|text| certificates(path, &text));
            match found {
                Ok(found) => {
                    if self.take_over(&found) {
                        tracing::info!("other certificates of engines are trusted from now on");
                    }
                    last = None;
                }
                Err(error) => {
                    let error = error.to_string();
                    // Each fault is told once.
                    if last.as_ref() != Some(&error) {
                        tracing::error!(%error, "engines are trusted by the last certificates that could be read");
                        last = Some(error);
                    }
                }
            }
        }
    }

    /// `true` = these are others than before.
    fn take_over(&self, found: &[CertificateDer<'static>]) -> bool {
        let mut state = self.lock();
        if state.given == found {
            return false;
        }
        state.given = found.to_vec();
        // Who is no longer trusted must not come in by a ticket.
        state.tickets.clear();
        state.config = None;
        true
    }

    fn config_for(&self, address: SocketAddr) -> Result<Arc<ClientConfig>, Unprepared> {
        let mut state = self.lock();
        let base = match state.config.take() {
            Some(config) => config,
            None => Arc::new(self.make(&state.given)?),
        };
        state.config = Some(Arc::clone(&base));
        if state.tickets.len() >= TICKETS_OF && !state.tickets.contains_key(&address) {
            state.tickets.clear();
        }
        let tickets = state.tickets.entry(address);
        let mut config = ClientConfig::clone(&base);
        config.resumption = tickets
            .or_insert_with(|| Resumption::in_memory_sessions(TICKETS))
            .clone();
        Ok(Arc::new(config))
    }

    fn make(&self, given: &[CertificateDer<'static>]) -> Result<ClientConfig, Unprepared> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(given, &provider)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn verifier(
        &self,
        given: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, Unprepared> {
        if self.trust.check == CertificateCheck::Off {
            return Ok(Arc::new(Anybody(
                provider.signature_verification_algorithms,
            )));
        }
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        let (of_system, _) = roots.add_parsable_certificates(system.certs);
        let (of_file, unusable) = roots.add_parsable_certificates(given.iter().cloned());
        tracing::info!(of_system, of_file, unusable, "authorities of engines");
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()?;
        Ok(Arc::new(Vouched {
            authorities,
            given: given.to_vec(),
        }))
    }

    fn tell(&self, address: SocketAddr, error: &dyn std::error::Error, help: &str) {
        let now = Instant::now();
        let told = self.lock().told;
        if told.is_some_and(|told| now.saturating_duration_since(told) < TELL_EVERY) {
            return;
        }
        self.lock().told = Some(now);
        tracing::warn!(%address, %error, help, "an engine that should speak TLS cannot be asked");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|source| TlsError::BadName {
        name: name.to_owned(),
        source,
    })
}

/// What a failed handshake means, and what helps.
fn judge(error: &io::Error) -> (UpstreamFault, &'static str) {
    use CertificateError as Bad;
    use rustls::Error;

    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<Error>());
    let help = match cause {
        Some(Error::InvalidCertificate(bad)) => match bad {
            Bad::UnknownIssuer => "name its authority with --engine-ca-cert",
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "say with --engine-tls-server-name what certificates are for, or issue one for the pod's address"
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "renew the engine's certificate",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "compare the clocks",
            Bad::Other(_) => "if it signed itself, give it as it is with --engine-ca-cert",
            _ => "issue another certificate",
        },
        Some(Error::InvalidMessage(_)) => {
            return (
                UpstreamFault::Handshake,
                "it does not seem to speak TLS: compare workloadPort.protocol of its ModelServer",
            );
        }
        _ => return (UpstreamFault::Handshake, "look into the engine's log"),
    };
    (UpstreamFault::Untrusted, help)
}

#[cfg(test)]
mod tests;
