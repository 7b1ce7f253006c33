//! TLS by flags, towards clients and towards engines, while files are replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::lone_router::{Setup, Start, chat, read_until, soon};

/// A certificate for this machine that signed itself, with its key.
struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Replaces the file at `path` as mounted Secrets are replaced: at once.
fn replace(path: &Path, content: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, content).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

/// Where certificate and key of the router are.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    _folder: tempfile::TempDir,
}

impl Files {
    fn of(identity: &Identity) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Self {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
            _folder: folder,
        };
        files.hold(identity);
        files
    }

    fn hold(&self, identity: &Identity) {
        replace(&self.certificate, &identity.certificate);
        replace(&self.key, &identity.key);
    }

    fn flags(&self) -> Vec<String> {
        vec![
            format!("--tls-cert={}", self.certificate.display()),
            format!("--tls-key={}", self.key.display()),
        ]
    }
}

/// Clients that believe some certificates.
#[derive(Clone)]
struct Clients {
    setup: Arc<Setup>,
    roots: Arc<RootCertStore>,
}

impl Clients {
    fn new(setup: Setup, believed: &[&Identity]) -> Self {
        let mut roots = RootCertStore::empty();
        for identity in believed {
            roots.add(identity.der()).unwrap();
        }
        Self {
            setup: Arc::new(setup),
            roots: Arc::new(roots),
        }
    }

    async fn connect(&self, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.setup.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// A chat in HTTP/1.1 on `stream`, to its end.
    async fn chat(&self, stream: &mut TlsStream<TcpStream>) -> String {
        self.setup.engine.ends.add_permits(1);
        stream.write_all(&chat()).await.unwrap();
        read_until(stream, "0\r\n\r\n").await
    }

    /// Chats on a connection in HTTP/1.1 of their own.
    async fn chat_in_http1(&self) {
        let mut stream = self.connect("http/1.1").await.unwrap();
        for _ in 0..3 {
            let answer = self.chat(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("data: [DONE]"), "{answer}");
        }
    }

    /// Chats on a connection in HTTP/2 of their own.
    async fn chat_in_http2(&self) {
        let stream = self.connect("h2").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        for _ in 0..3 {
            self.setup.engine.ends.add_permits(1);
            requests = requests.ready().await.unwrap();
            let request = http::Request::post("https://localhost/v1/chat/completions");
            let (answer, mut body) = requests
                .send_request(request.body(()).unwrap(), false)
                .unwrap();
            let message = chat();
            let start = message.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let payload = message[start.unwrap() + 4..].to_vec();
            body.send_data(payload.into(), true).unwrap();
            let answer = soon(answer).await.unwrap();
            assert_eq!(answer.status(), 200);
            let mut body = answer.into_body();
            let mut text = Vec::new();
            while let Some(piece) = soon(body.data()).await {
                let piece = piece.unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                text.extend_from_slice(&piece);
            }
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("data: [DONE]"), "{text}");
        }
        driver.abort();
    }

    async fn until_ready(&self) {
        soon(async {
            loop {
                let mut stream = self.connect("http/1.1").await.unwrap();
                if self.chat(&mut stream).await.starts_with("HTTP/1.1 200") {
                    return;
                }
            }
        })
        .await;
    }
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'_> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load_and_nobody_notices() {
    let (old, new) = (Identity::new(), Identity::new());
    let files = Files::of(&old);
    let setup = Setup::start(Start {
        flags: files.flags(),
        secure: true,
        ..Start::default()
    })
    .await;
    let clients = Clients::new(setup, &[&old, &new]);
    clients.until_ready().await;
    let mut kept = clients.connect("http/1.1").await.unwrap();
    assert_eq!(shown(&kept), old.der());
    let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut load = JoinSet::new();
    for number in 0..4 {
        let (clients, stop, served) = (clients.clone(), Arc::clone(&stop), Arc::clone(&served));
        load.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if number % 2 == 0 {
                    clients.chat_in_http1().await;
                } else {
                    clients.chat_in_http2().await;
                }
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    files.hold(&new);
    soon(async { while shown(&clients.connect("h2").await.unwrap()) != new.der() {} }).await;
    let before = served.load(Ordering::Relaxed);
    soon(async {
        while served.load(Ordering::Relaxed) < before + 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stop.store(true, Ordering::Relaxed);

    while let Some(ended) = soon(load.join_next()).await {
        ended.unwrap();
    }
    assert!(clients.chat(&mut kept).await.contains("data: [DONE]"));
    assert!(before > 0, "there was no load");
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_are_spoken_to_in_tls_if_they_can_be_believed() {
    let engine = Identity::new();
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("engines.crt");
    replace(&authorities, &engine.certificate);
    let start = |flag: Option<String>| Start {
        flags: flag.into_iter().collect(),
        engine: Some(engine.acceptor()),
        ..Start::default()
    };
    let told = async |start: Start| {
        let setup = Setup::start(start).await;
        setup.engine.ends.add_permits(1);
        let mut stream = TcpStream::connect(setup.address).await.unwrap();
        stream.write_all(&chat()).await.unwrap();
        read_until(&mut stream, "0\r\n\r\n").await
    };

    let believed = told(start(Some(format!(
        "--engine-ca-cert={}",
        authorities.display()
    ))))
    .await;
    let unknown = async {
        let setup = Setup::start(start(None)).await;
        crate::lone_router::ask(setup.address, &chat())
            .await
            .unwrap()
    };

    assert!(believed.contains("data: [DONE]"), "{believed}");
    let unknown = unknown.await;
    assert!(unknown.starts_with("HTTP/1.1 502"), "{unknown}");
    let anybody = told(start(Some("--engine-insecure-skip-verify".to_owned()))).await;
    assert!(anybody.contains("data: [DONE]"), "{anybody}");
}
