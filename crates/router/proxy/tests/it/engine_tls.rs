//! Engines that speak TLS, well and badly.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kthena_router_proxy::{CertificateCheck, EngineTrust, RouterConfig, ScrapeConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rstest::rstest;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::cached::{Engines, by_cache, events};
use crate::client::{CHAT, chat, get, post, post_with, soon};
use crate::engine::{Engine, LAST_CHUNK, STREAM_HEAD, Seen, Step, answer, event, ok};
use crate::pairs;
use crate::setup::{TestRouter, config, view_of};

/// A certificate with its key.
struct Identity {
    certificate: String,
    key: KeyPair,
}

/// What is to be unusual about a certificate.
#[derive(Debug, Clone, Copy)]
enum Flaw {
    None,
    Expired,
    NotYetValid,
    ForSomebodyElse,
}

impl Identity {
    /// One that vouches for itself.
    fn own(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap().pem(),
            key,
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::new(self.config()))
    }

    fn config(&self) -> ServerConfig {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap()
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).unwrap()
}

/// An authority and its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
    _folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        std::fs::write(&file, issuer.pem()).unwrap();
        Self {
            issuer,
            file,
            _folder: folder,
        }
    }

    fn identity(&self, names: &[&str], flaw: Flaw) -> Identity {
        let mut params = params(names);
        match flaw {
            Flaw::None => {}
            Flaw::Expired => params.not_after = rcgen::date_time_ymd(2020, 1, 1),
            Flaw::NotYetValid => params.not_before = rcgen::date_time_ymd(4000, 1, 1),
            Flaw::ForSomebodyElse => return self.identity(&["10.9.8.7"], Flaw::None),
        }
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key,
        }
    }

    /// For an engine on the loopback interface.
    fn good(&self) -> Identity {
        self.identity(&["127.0.0.1"], Flaw::None)
    }
}

fn trusting(authorities: &Path) -> RouterConfig {
    RouterConfig {
        engine_trust: EngineTrust {
            authorities: Some(authorities.to_owned()),
            reload: Duration::from_millis(20),
            ..EngineTrust::default()
        },
        ..config()
    }
}

async fn router(config: RouterConfig, engine: &Engine) -> TestRouter {
    router_of(config, &[engine], json!({})).await
}

async fn router_of(config: RouterConfig, engines: &[&Engine], mut spec: Value) -> TestRouter {
    let port = engines[0].address.port();
    spec["workloadPort"] = json!({"port": port, "protocol": "https"});
    TestRouter::with(config, engines, &spec).await
}

#[tokio::test]
async fn an_engine_that_an_authority_vouches_for_is_asked_on_a_connection_that_is_kept() {
    let authority = Authority::new();
    let engine = Engine::start_secure(authority.good().acceptor(), |_, _| ok("\"secret\"")).await;
    let router = router(trusting(&authority.file), &engine).await;
    let mut client = router.client().await;

    for _ in 0..3 {
        let answer = client.ask(&chat("m")).await;
        assert_eq!((answer.status, answer.text()), (200, "\"secret\""));
    }

    let seen = engine.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.connection == 0));
    assert_eq!(seen[0].header("host"), Some("router"));
}

#[rstest]
#[case::large_answer(1 << 10, 3 << 20)]
#[case::large_question(3 << 20, 1 << 10)]
#[tokio::test]
async fn large_bodies_arrive_whole(#[case] question: usize, #[case] answer: usize) {
    let authority = Authority::new();
    let told = format!("\"{}\"", "x".repeat(answer));
    let engine = Engine::start_secure(authority.good().acceptor(), {
        let told = told.clone();
        move |_, _| ok(&told)
    })
    .await;
    let router = router(trusting(&authority.file), &engine).await;
    let prompt = "y".repeat(question);
    let body = format!(r#"{{"model":"m","prompt":"{prompt}"}}"#);

    let answer = router.ask(&post("/v1/completions", &body)).await;

    assert_eq!((answer.status, answer.text()), (200, &told[..]));
    assert_eq!(engine.seen()[0].json()["prompt"], prompt);
}

#[rstest]
#[case::end_is_sent(vec![Step::Send(LAST_CHUNK.to_vec())], true)]
#[case::cut_without_a_farewell(vec![Step::Close], false)]
#[case::cut_with_a_farewell(vec![Step::Farewell], false)]
#[case::reset(vec![Step::Reset], false)]
#[tokio::test]
async fn a_stream_ends_cleanly_only_if_the_engine_ended_it(
    #[case] end: Vec<Step>,
    #[case] whole: bool,
) {
    let authority = Authority::new();
    // A reset takes with it what was sent and not yet read.
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start_secure(authority.good().acceptor(), move |_, _| {
        let mut steps = vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event("{\"a\":1}")),
            Step::Await(Arc::clone(&held)),
        ];
        steps.extend(end.clone());
        steps
    })
    .await;
    let router = router(trusting(&authority.file), &engine).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    client.until("\"a\":1").await;

    gate.add_permits(1);
    let answer = client.answer().await;

    assert_eq!((answer.status, answer.complete), (200, whole));
    router.until_metric("kthena_router_active_requests 0").await;
}

/// An answer that ends with its connection: in TLS only a farewell says that nothing is missing.
#[rstest]
#[case::with_a_farewell(Step::Farewell, true)]
#[case::without(Step::Close, false)]
#[tokio::test]
async fn an_answer_without_a_length(#[case] end: Step, #[case] whole: bool) {
    let authority = Authority::new();
    let engine = Engine::start_secure(authority.good().acceptor(), move |_, _| {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nhello".to_vec();
        vec![Step::Send(bytes), end.clone()]
    })
    .await;
    let router = router(trusting(&authority.file), &engine).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!((answer.text(), answer.complete), ("hello", whole));
}

#[rstest]
#[case::expired(Flaw::Expired)]
#[case::not_yet_valid(Flaw::NotYetValid)]
#[case::for_somebody_else(Flaw::ForSomebodyElse)]
#[tokio::test]
async fn a_certificate_that_is_not_believed(#[case] flaw: Flaw) {
    let authority = Authority::new();
    let identity = authority.identity(&["127.0.0.1"], flaw);
    let engine = Engine::start_secure(identity.acceptor(), |_, _| ok("{}")).await;
    let strict = router(trusting(&authority.file), &engine).await;
    let mut lax = trusting(&authority.file);
    lax.engine_trust.check = CertificateCheck::Off;
    let lax = router(lax, &engine).await;

    assert_eq!(strict.ask(&chat("m")).await.status, 502);
    assert!(engine.seen().is_empty(), "it was sent to a stranger");
    assert_eq!(lax.ask(&chat("m")).await.status, 200);
}

#[tokio::test]
async fn an_authority_that_nobody_named_is_not_believed() {
    let (named, other) = (Authority::new(), Authority::new());
    let engine = Engine::start_secure(other.good().acceptor(), |_, _| ok("{}")).await;
    let mut explaining = trusting(&named.file);
    explaining.explain = true;
    let router = router(explaining, &engine).await;

    let question = post_with(
        CHAT,
        "x-kthena-explain: 1\r\n",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
    );
    let answer = router.ask(&question).await;

    assert_eq!(answer.status, 502);
    let told = answer.header("x-kthena-explain").unwrap();
    assert!(told.contains("certificate is not trusted"), "{told}");
    assert!(engine.seen().is_empty());
}

#[rstest]
#[case::an_authority_of_its_own(IsCa::Ca(BasicConstraints::Unconstrained))]
#[case::no_authority(IsCa::NoCa)]
#[tokio::test]
async fn a_certificate_that_signed_itself_is_believed_if_it_was_given(#[case] is_ca: IsCa) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.crt");
    let identity = |names: &[&str], is_ca: IsCa| {
        let mut params = params(names);
        params.is_ca = is_ca;
        Identity::own(&params)
    };
    let engine = identity(&["127.0.0.1"], is_ca);
    let misnamed = identity(&["10.9.8.7"], is_ca);
    let all = engine.certificate.clone() + &misnamed.certificate;
    std::fs::write(&file, all).unwrap();
    let right = Engine::start_secure(engine.acceptor(), |_, _| ok("{}")).await;
    let wrong = Engine::start_secure(misnamed.acceptor(), |_, _| ok("{}")).await;

    let status = async |engine: &Engine| {
        let router = router(trusting(&file), engine).await;
        router.ask(&chat("m")).await.status
    };

    assert_eq!(status(&right).await, 200);
    assert_eq!(
        status(&wrong).await,
        502,
        "its name is looked at all the same"
    );
}

#[tokio::test]
async fn certificates_may_be_for_a_name_instead_of_an_address() {
    let authority = Authority::new();
    let identity = authority.identity(&["engines.example"], Flaw::None);
    let engine = Engine::start_secure(identity.acceptor(), |_, _| ok("{}")).await;
    let named = |name: &str| {
        let mut config = trusting(&authority.file);
        config.engine_trust.name = Some(name.to_owned());
        config
    };

    let right = router(named("engines.example"), &engine).await;
    let wrong = router(named("others.example"), &engine).await;

    assert_eq!(right.ask(&chat("m")).await.status, 200);
    assert_eq!(wrong.ask(&chat("m")).await.status, 502);
}

#[tokio::test]
async fn an_authority_may_be_replaced_while_the_router_runs() {
    let (old, new) = (Authority::new(), Authority::new());
    let engine = Engine::start_secure(new.good().acceptor(), |_, _| ok("{}")).await;
    let router = router(trusting(&old.file), &engine).await;
    assert_eq!(router.ask(&chat("m")).await.status, 502);

    std::fs::write(&old.file, "not a certificate").unwrap();
    assert_eq!(router.ask(&chat("m")).await.status, 502);
    std::fs::copy(&new.file, &old.file).unwrap();

    soon(async { while router.ask(&chat("m")).await.status != 200 {} }).await;
}

/// What may be at the port instead of an engine that speaks TLS.
#[derive(Debug, Clone, Copy)]
enum Stranger {
    /// An engine that speaks plain HTTP.
    Plain,
    Resets,
    Closes,
    /// Accepts and says nothing.
    Silent,
}

/// Something that is no engine speaking TLS, on a port of 127.0.0.2.
async fn stranger(kind: Stranger, port: u16) {
    let listener = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 64]).await;
            match kind {
                Stranger::Plain => {
                    let bad = answer("400 Bad Request", "text/plain", "no HTTP");
                    let _ = stream.write_all(&bad).await;
                    held.push(stream);
                }
                Stranger::Resets => stream.set_zero_linger().unwrap(),
                Stranger::Closes => {}
                Stranger::Silent => held.push(stream),
            }
        }
    });
}

#[rstest]
#[case::plain_http(Stranger::Plain)]
#[case::reset_in_the_handshake(Stranger::Resets)]
#[case::closed_in_the_handshake(Stranger::Closes)]
#[case::silent_in_the_handshake(Stranger::Silent)]
#[tokio::test]
async fn whoever_does_not_speak_tls_costs_an_attempt(#[case] kind: Stranger) {
    let authority = Authority::new();
    let identity = authority.identity(&["127.0.0.1", "127.0.0.2"], Flaw::None);
    let engine = Engine::start_secure(identity.acceptor(), |_, _| ok("\"good\"")).await;
    stranger(kind, engine.address.port()).await;
    let mut config = trusting(&authority.file);
    config.limits.connect = Duration::from_secs(1);
    let router = TestRouter::start(config).await;
    let port = engine.address.port();
    let both = [engine.address, ([127, 0, 0, 2], port).into()];
    let secure = json!({"workloadPort": {"port": port, "protocol": "https"}});
    router.publisher.publish(view_of(&both, &secure).snapshot());

    let mut repeated = false;
    soon(async {
        while !repeated {
            let answer = router.ask(&chat("m")).await;
            assert_eq!((answer.status, answer.text()), (200, "\"good\""));
            repeated = router.metrics().await.lines().any(|line| {
                line.starts_with("kthena_router_endpoint_ejections_total") && !line.ends_with(" 0")
            });
        }
    })
    .await;

    let log = router.stop().await;
    assert!(
        log.iter()
            .any(|line| line.contains(" upstream_attempts=2 "))
    );
}

#[tokio::test]
async fn a_new_connection_resumes_the_session_of_an_earlier_one() {
    let authority = Authority::new();
    let config = authority.good().config();
    let resumed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (acceptor, kinds) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&resumed));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            kinds
                .lock()
                .unwrap()
                .push(stream.get_ref().1.handshake_kind());
            let _ = stream.read(&mut [0; 4096]).await;
            let closing = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            stream.write_all(closing).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let router = TestRouter::start(trusting(&authority.file)).await;
    let secure = json!({"workloadPort": {"port": address.port(), "protocol": "https"}});
    router
        .publisher
        .publish(view_of(&[address], &secure).snapshot());
    let mut client = router.client().await;

    for _ in 0..2 {
        assert_eq!(client.ask(&chat("m")).await.status, 200);
    }

    let kinds = resumed.lock().unwrap().clone();
    assert_eq!(
        kinds,
        [
            Some(rustls::HandshakeKind::Full),
            Some(rustls::HandshakeKind::Resumed)
        ]
    );
}

#[tokio::test]
async fn engines_are_asked_for_their_state_in_tls_too() {
    let authority = Authority::new();
    let engine = Engine::start_secure(authority.good().acceptor(), |_, seen| {
        if seen.head.starts_with("GET /v1/models ") {
            return ok(r#"{"object":"list","data":[{"id":"m"}]}"#);
        }
        let page = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 3\n\
                    # TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting 0\n";
        vec![Step::Send(answer("200 OK", "text/plain", page))]
    })
    .await;
    let mut config = trusting(&authority.file);
    config.scrape = Some(ScrapeConfig::every(Duration::from_millis(50)));

    let router = router(config, &engine).await;

    engine.until_seen(2).await;
    let asked: Vec<_> = engine.seen().iter().map(|seen| seen.head.clone()).collect();
    assert!(asked[0].starts_with("GET /metrics "), "{asked:#?}");
    assert!(asked[1].starts_with("GET /v1/models "), "{asked:#?}");
    soon(async { while router.ask(&get("/readyz")).await.status != 200 {} }).await;
}

#[tokio::test]
async fn engines_are_asked_for_tokens_in_tls_too() {
    let authority = Authority::new();
    let engine = Engine::start_secure(authority.good().acceptor(), |_, seen| {
        if seen.head.starts_with("POST /tokenize ") {
            return ok(r#"{"count":2,"max_model_len":9,"tokens":[1,2]}"#);
        }
        ok("{}")
    })
    .await;
    // Tells on the same address what it holds, as if it were that engine.
    let other = Engines::start(1).await;
    let config = RouterConfig {
        engine_trust: trusting(&authority.file).engine_trust,
        ..by_cache(events(other.events))
    };
    let router = router(config, &engine).await;
    other.until_known(&router).await;

    assert_eq!(router.ask(&chat("m")).await.status, 200);

    let asked: Vec<_> = engine.seen().iter().map(|seen| seen.head.clone()).collect();
    assert!(asked[0].starts_with("POST /tokenize "), "{asked:#?}");
    assert_eq!(asked.len(), 2, "{asked:#?}");
}

#[rstest]
#[case::in_turn(json!({"kvConnector": {"type": "nixl"}}))]
#[case::together(json!({"inferenceEngine": "SGLang"}))]
#[tokio::test]
async fn both_halves_of_a_pair_are_asked_in_tls(#[case] mut spec: Value) {
    let authority = Authority::new();
    let acceptor = authority
        .identity(&["127.0.0.1", "127.0.0.2"], Flaw::None)
        .acceptor();
    let script = |_: usize, _: &Seen| ok(r#"{"kv_transfer_params":{"a":1}}"#);
    let prefill = Engine::start_secure(acceptor.clone(), script).await;
    let port = prefill.address.port();
    let decode = Engine::listen(([127, 0, 0, 2], port).into(), Some(acceptor), script).await;
    spec["workloadPort"] = json!({"port": port, "protocol": "https"});
    let mut view = pairs::view(&prefill, spec);
    view.apply_pod(pairs::pod(0, &prefill, "prefill", 0));
    view.apply_pod(pairs::pod(1, &decode, "decode", 0));
    let router = TestRouter::start(trusting(&authority.file)).await;
    router.publisher.publish(view.snapshot());

    let answer = router.ask(&chat("m")).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((prefill.seen().len(), decode.seen().len()), (1, 1));
}
