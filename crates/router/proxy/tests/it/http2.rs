//! Clients that speak HTTP/2, over TLS or at once.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use rstest::rstest;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::{CHAT, soon};
use crate::engine::{Engine, LAST_CHUNK, STREAM_HEAD, Step, event, ok};
use crate::setup::{TestRouter, config};
use crate::tls::{Pair, tls_config};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

struct Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(router: &TestRouter) -> Self {
        let stream = TcpStream::connect(router.address).await.unwrap();
        Self::over(stream).await
    }

    async fn over<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        Self::built(stream, h2::client::Builder::new()).await
    }

    async fn built<S>(stream: S, mut builder: h2::client::Builder) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // One stream that is not read must not use up what all may send.
        builder.initial_connection_window_size(1 << 20);
        let (requests, connection) = soon(builder.handshake(stream)).await.unwrap();
        Self {
            requests,
            connection: tokio::spawn(connection),
        }
    }

    async fn send(&mut self, request: Request<()>, body: &[u8]) -> h2::client::ResponseFuture {
        let mut ready = soon(self.requests.clone().ready()).await.unwrap();
        let (answer, mut stream) = ready.send_request(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            stream
                .send_data(Bytes::copy_from_slice(body), true)
                .unwrap();
        }
        answer
    }

    async fn chat(&mut self) -> Response<RecvStream> {
        let request = Request::post(format!("http://router{CHAT}"))
            .body(())
            .unwrap();
        let answer = self.send(request, BODY.as_bytes()).await;
        soon(answer).await.unwrap()
    }
}

/// Reads to the end, or to the error that the stream breaks with.
async fn text(answer: Response<RecvStream>) -> (String, Option<h2::Error>) {
    let mut body = answer.into_body();
    let mut all = Vec::new();
    soon(async {
        while let Some(piece) = body.data().await {
            match piece {
                Ok(piece) => {
                    body.flow_control().release_capacity(piece.len()).unwrap();
                    all.extend_from_slice(&piece);
                }
                Err(error) => return (String::from_utf8_lossy(&all).into_owned(), Some(error)),
            }
        }
        (String::from_utf8_lossy(&all).into_owned(), None)
    })
    .await
}

#[tokio::test]
async fn requests_side_by_side_over_tls() {
    let engine = Engine::start(|_, _| ok("\"hello\"")).await;
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    let router = TestRouter::with(tls_config(folder.path(), &pair), &[&engine], &json!({})).await;
    let stream = pair.connect(&router, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Client::over(stream).await;

    let mut answers = Vec::new();
    for _ in 0..20 {
        let request = Request::post(format!("https://localhost{CHAT}"))
            .header("x-request-id", "mine")
            .body(())
            .unwrap();
        answers.push(client.send(request, BODY.as_bytes()).await);
    }
    for answer in answers {
        let answer = soon(answer).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-request-id"], "mine");
        assert!(!answer.headers().contains_key("connection"));
        assert_eq!(text(answer).await.0, "\"hello\"");
    }

    let seen = engine.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.header("host") == Some("localhost"))
    );
    let log = router.stop().await;
    assert_eq!(log.len(), 20);
    assert!(log[0].contains("HTTP/2.0"), "{}", log[0]);
}

#[tokio::test]
async fn without_tls_the_first_bytes_tell() {
    let engine = Engine::start(|_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event("{\"a\":1}")),
            Step::Send(event("[DONE]")),
            Step::Send(LAST_CHUNK.to_vec()),
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = Client::connect(&router).await;

    let answer = client.chat().await;

    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("transfer-encoding"));
    let (body, error) = text(answer).await;
    assert_eq!(body, "data: {\"a\":1}\n\ndata: [DONE]\n\n");
    assert!(error.is_none());

    let request = Request::get("http://router/healthz").body(()).unwrap();
    let answer = client.send(request, b"").await;
    assert_eq!(
        text(soon(answer).await.unwrap()).await.0,
        r#"{"message":"ok"}"#
    );
    let request = Request::head("http://router/nothing").body(()).unwrap();
    let answer = client.send(request, b"").await;
    assert_eq!(soon(answer).await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_stream_that_the_engine_breaks_is_reset_and_its_siblings_go_on() {
    let engine = Engine::start(|number, _| {
        if number > 0 {
            return ok("\"fine\"");
        }
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event("{\"a\":1}")),
            Step::Close,
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = Client::connect(&router).await;

    let (body, error) = text(client.chat().await).await;

    assert_eq!(body, "data: {\"a\":1}\n\n");
    assert_eq!(error.unwrap().reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(text(client.chat().await).await.0, "\"fine\"");
}

#[tokio::test]
async fn a_client_that_cancels_a_stream_ends_the_engines_work_on_it() {
    let engine = Engine::start(|_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event("{\"a\":1}")),
            Step::UntilClosed,
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = Client::connect(&router).await;
    let mut answer = client.chat().await;
    soon(answer.body_mut().data()).await.unwrap().unwrap();

    drop(answer);

    engine.until_closed(1).await;
    router
        .until_metric(r#"kthena_router_active_downstream_requests{model="m"} 0"#)
        .await;
    assert!(!client.connection.is_finished());
}

#[tokio::test]
async fn a_client_that_does_not_read_slows_its_stream_only_and_loses_it() {
    let large = format!("\"{}\"", "x".repeat(8 << 20));
    let engine = Engine::start(move |_, _| ok(&large)).await;
    let mut config = config();
    config.limits.idle = std::time::Duration::from_secs(2);
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    let mut client = Client::connect(&router).await;
    let unread = client.chat().await;

    let request = Request::get("http://router/healthz").body(()).unwrap();
    let answer = client.send(request, b"").await;
    assert_eq!(
        text(soon(answer).await.unwrap()).await.0,
        r#"{"message":"ok"}"#
    );

    router.until_metric("kthena_router_active_requests 0").await;
    assert!(text(unread).await.1.is_some());
}

#[tokio::test]
async fn a_large_body_and_a_large_answer_arrive_whole() {
    let prompt = "y".repeat(5 << 20);
    let large = format!("\"{}\"", "x".repeat(5 << 20));
    let expected = large.clone();
    let engine = Engine::start(move |_, _| ok(&large)).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = Client::connect(&router).await;
    let body = format!(r#"{{"model":"m","prompt":"{prompt}"}}"#);
    let request = Request::post("http://router/v1/completions")
        .body(())
        .unwrap();

    let answer = client.send(request, body.as_bytes()).await;

    let (text, error) = text(soon(answer).await.unwrap()).await;
    assert!(error.is_none());
    assert_eq!(text.len(), expected.len());
    assert_eq!(engine.seen()[0].json()["prompt"].as_str().unwrap(), prompt);
}

#[tokio::test]
async fn limits_hold() {
    let mut config = config();
    config.limits.body = 1000;
    config.limits.head = 2000;
    let router = TestRouter::with(config, &[], &json!({})).await;
    let mut client = Client::connect(&router).await;

    let request = Request::post(format!("http://router{CHAT}"))
        .body(())
        .unwrap();
    let answer = client.send(request, &[b' '; 1001]).await;
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert!(text(answer).await.0.contains("request body too large"));

    let request = Request::get("http://router/healthz")
        .header("x-long", "z".repeat(3000))
        .body(())
        .unwrap();
    let answer = client.send(request, b"").await;
    assert_eq!(soon(answer).await.unwrap().status(), 431);
}

#[tokio::test]
async fn a_drain_tells_the_client_to_leave_and_finishes_its_streams() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = std::sync::Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event("{\"a\":1}")),
            Step::Await(std::sync::Arc::clone(&held)),
            Step::Send(event("[DONE]")),
            Step::Send(LAST_CHUNK.to_vec()),
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut idle = Client::connect(&router).await;
    let request = Request::get("http://router/healthz").body(()).unwrap();
    let answer = idle.send(request, b"").await;
    assert_eq!(soon(answer).await.unwrap().status(), 200);
    let mut client = Client::connect(&router).await;
    let mut answer = client.chat().await;
    soon(answer.body_mut().data()).await.unwrap().unwrap();

    router.shutdown.cancel();
    soon(idle.connection).await.unwrap().unwrap();
    gate.add_permits(1);

    let (rest, error) = text(answer).await;
    assert_eq!((rest.as_str(), error.is_none()), ("data: [DONE]\n\n", true));
    soon(client.connection).await.unwrap().unwrap();
    assert_eq!(router.stop().await.len(), 1);
}

/// Whether an answer was whole is decided by what the client could take, not by what the engine had said.
#[rstest]
#[case::before_it_could_take_the_mark(16, true)]
#[case::after_the_mark(1 << 16, false)]
#[tokio::test]
async fn a_client_that_leaves(#[case] window: u32, #[case] cut: bool) {
    let said = [
        STREAM_HEAD.to_vec(),
        event(r#"{"choices":[{"delta":{"content":"x"}}]}"#),
        event("[DONE]"),
    ];
    let engine =
        Engine::start(move |_, _| vec![Step::Send(said.concat()), Step::UntilClosed]).await;
    let router = TestRouter::serving(&[&engine]).await;
    let stream = TcpStream::connect(router.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let mut client = Client::built(stream, builder).await;
    let mut answer = client.chat().await;
    let mut taken = 0;
    while taken < window.min(60) as usize {
        taken += soon(answer.body_mut().data()).await.unwrap().unwrap().len();
    }

    drop(answer);

    engine.until_closed(1).await;
    router.until_metric("kthena_router_active_requests 0").await;
    let log = router.stop().await;
    assert_eq!(log[0].contains("client_closed"), cut, "{}", log[0]);
}
