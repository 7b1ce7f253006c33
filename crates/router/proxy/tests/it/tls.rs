//! Clients over TLS, and certificates that are replaced while the router runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kthena_router_proxy::{RouterConfig, TlsFiles};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{chat, get, soon};
use crate::engine::{Engine, Step, ok};
use crate::setup::{TestRouter, config};

/// A certificate of its own authority, with its key.
pub(crate) struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    fn write(&self, files: &TlsFiles) {
        std::fs::write(&files.certificate, &self.certificate).unwrap();
        std::fs::write(&files.key, &self.key).unwrap();
    }

    /// A client's settings that trust this certificate only.
    fn trusted(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&str],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// Shakes hands with a router that shows this certificate.
    pub(crate) async fn connect(
        &self,
        router: &TestRouter,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.trusted(rustls::ALL_VERSIONS, alpn);
        handshake(router, config).await
    }
}

async fn handshake(
    router: &TestRouter,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(router.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

pub(crate) fn tls_config(folder: &Path, pair: &Pair) -> RouterConfig {
    let files = TlsFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
        reload: Duration::from_millis(20),
    };
    pair.write(&files);
    RouterConfig {
        tls: Some(files),
        ..config()
    }
}

async fn until_answered(stream: &mut TlsStream<TcpStream>, needle: &str) -> String {
    let mut received = Vec::new();
    soon(async {
        loop {
            let text = String::from_utf8_lossy(&received).into_owned();
            if text.contains(needle) {
                return text;
            }
            assert!(stream.read_buf(&mut received).await.unwrap() > 0, "{text}");
        }
    })
    .await
}

#[tokio::test]
async fn several_requests_on_one_connection() {
    let engine = Engine::start(|_, _| ok("\"hello\"")).await;
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    let router = TestRouter::with(tls_config(folder.path(), &pair), &[&engine], &json!({})).await;
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let mut stream = handshake(&router, pair.trusted(versions, &["http/1.1"]))
            .await
            .unwrap();
        for _ in 0..2 {
            stream.write_all(&chat("m")).await.unwrap();
            let answer = until_answered(&mut stream, "\"hello\"").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
        stream.write_all(&get("/healthz")).await.unwrap();
        until_answered(&mut stream, r#"{"message":"ok"}"#).await;
    }
    // A client without TLS gets no answer in the clear.
    let mut plain = router.client().await;
    plain.send(&get("/healthz")).await;
    plain.until_closed().await;
    assert!(
        !plain.received().contains("HTTP/1.1"),
        "{}",
        plain.received()
    );
}

#[tokio::test]
async fn a_large_answer_arrives_whole_and_a_broken_one_does_not_end_cleanly() {
    let large = "x".repeat(3 << 20);
    let body = format!("\"{large}\"");
    let engine = Engine::start(move |number, _| {
        if number == 0 {
            return ok(&body);
        }
        vec![
            Step::Send(crate::engine::STREAM_HEAD.to_vec()),
            Step::Send(crate::engine::event("{\"a\":1}")),
            Step::Close,
        ]
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    let router = TestRouter::with(tls_config(folder.path(), &pair), &[&engine], &json!({})).await;
    let mut stream = pair.connect(&router, &[]).await.unwrap();

    stream.write_all(&chat("m")).await.unwrap();
    let answer = until_answered(&mut stream, "x\"").await;
    assert!(answer.ends_with(&format!("\r\n\r\n\"{large}\"")));

    stream.write_all(&chat("m")).await.unwrap();
    until_answered(&mut stream, "\"a\":1").await;
    let end = soon(stream.read_to_end(&mut Vec::new())).await;
    assert_eq!(
        end.unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof,
        "the end is not one the router meant"
    );
}

#[tokio::test]
async fn a_new_pair_is_served_to_new_connections_only() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Pair::new(), Pair::new());
    let config = tls_config(folder.path(), &first);
    let files = config.tls.clone().unwrap();
    let router = TestRouter::with(config, &[], &json!({})).await;
    let mut old = first.connect(&router, &[]).await.unwrap();

    std::fs::write(&files.certificate, "not a certificate").unwrap();
    first.connect(&router, &[]).await.unwrap();
    second.write(&files);

    soon(async { while second.connect(&router, &[]).await.is_err() {} }).await;
    assert!(first.connect(&router, &[]).await.is_err());
    old.write_all(&get("/healthz")).await.unwrap();
    until_answered(&mut old, "\"ok\"").await;
}
