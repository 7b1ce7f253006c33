use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kthena_router_pipeline::{BodyFacts, PromptReader};
use kthena_router_view::{PodFacts, ServerView, Snapshot, View};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::advance;

use super::remote::REST;
use super::{TokenFault, Tokens, TokensConfig, Wanted};

/// A tokenizer's answers, one after the other; the last one again and again. No answers = it never answers.
pub(super) struct Engine {
    pub(super) port: u16,
    asked: Arc<AtomicUsize>,
}

impl Engine {
    pub(super) async fn start(answers: &'static [(u16, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut request = vec![0; 65536];
                    while let Ok(1..) = stream.read(&mut request).await {
                        let at = count.fetch_add(1, Ordering::SeqCst);
                        let Some((status, body)) = answers.get(at).or(answers.last()) else {
                            std::future::pending().await
                        };
                        let answer = format!(
                            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, asked }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A server with one pod whose engine is at `port`.
fn server(port: u16) -> Arc<ServerView> {
    let server = serde_json::json!({
        "metadata": {"namespace": "default", "name": "s"},
        "spec": {
            "inferenceEngine": "vLLM",
            "workloadPort": {"port": port},
            "workloadSelector": {"matchLabels": {"app": "s"}},
        },
    });
    let mut view = View::default();
    view.apply_server(Arc::new(serde_json::from_value(server).unwrap()));
    view.apply_pod(PodFacts {
        namespace: "default".to_owned(),
        name: "pod".to_owned(),
        uid: "1".to_owned(),
        labels: [("app".to_owned(), "s".to_owned())].into(),
        ready: true,
        address: Some("127.0.0.1".parse().unwrap()),
        ..PodFacts::default()
    });
    let snapshot: Arc<Snapshot> = view.snapshot();
    Arc::clone(snapshot.server("default/s").unwrap())
}

fn patient() -> Tokens {
    with(&TokensConfig {
        budget: Duration::from_secs(30),
        ..TokensConfig::default()
    })
}

pub(super) fn with(config: &TokensConfig) -> Tokens {
    Tokens::new(config, Arc::default()).unwrap()
}

pub(super) async fn find(tokens: &Tokens, port: u16, body: &str) -> Result<Vec<u32>, TokenFault> {
    let facts = BodyFacts::read(body.as_bytes()).unwrap();
    let facts = facts.prompt.unwrap();
    let prompt = PromptReader::new(body.as_bytes(), &facts);
    let server = server(port);
    let wanted = Wanted {
        prompt,
        facts: &facts,
        body: body.as_bytes(),
        model: "m",
        server: &server,
        port: None,
        chance: 0,
    };
    let found = tokens.find(wanted).await;
    found.map(|tokens| tokens.to_vec())
}

const TEXT: &str = r#"{"model":"m","prompt":"hello"}"#;
const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;

#[tokio::test]
async fn an_engine_is_asked_once_per_prompt() {
    let engine = Engine::start(&[(200, r#"{"tokens":[1,2]}"#), (200, r#"{"tokens":[3]}"#)]).await;
    let tokens = patient();
    assert_eq!(find(&tokens, engine.port, TEXT).await, Ok(vec![1, 2]));
    assert_eq!(find(&tokens, engine.port, TEXT).await, Ok(vec![1, 2]));
    assert_eq!(find(&tokens, engine.port, CHAT).await, Ok(vec![3]));
    assert_eq!(engine.asked(), 2);
}

/// Keeps paused time from running ahead to the next timer while bytes are under way.
struct Still(Option<std::sync::mpsc::Sender<()>>);

impl Still {
    fn begin() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        // Time stands as long as blocking work is under way.
        tokio::task::spawn_blocking(move || receiver.recv());
        Self(Some(sender))
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.0.take();
    }
}

#[rstest]
#[case::error(500, "")]
#[case::no_such_model(404, r#"{"error":{"type":"NotFoundError"}}"#)]
#[case::not_json(200, "tokens")]
#[tokio::test(start_paused = true)]
async fn an_engine_that_failed_rests(#[case] status: u16, #[case] body: &'static str) {
    let _still = Still::begin();
    let answers: &'static [(u16, &'static str)] =
        Box::leak(Box::new([(status, body), (200, r#"{"tokens":[1]}"#)]));
    let engine = Engine::start(answers).await;
    let tokens = patient();
    let find = || find(&tokens, engine.port, TEXT);
    assert_eq!(find().await, Err(TokenFault::Failed));

    advance(REST.saturating_sub(Duration::from_millis(1))).await;
    assert_eq!(find().await, Err(TokenFault::Nobody));
    assert_eq!(engine.asked(), 1, "it is left alone");

    advance(Duration::from_millis(1)).await;
    assert_eq!(find().await, Ok(vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_slow_engine_costs_the_budget_once() {
    const BUDGET: Duration = Duration::from_millis(50);
    let _still = Still::begin();
    let engine = Engine::start(&[]).await;
    let tokens = with(&TokensConfig {
        budget: BUDGET,
        ..TokensConfig::default()
    });
    let begun = tokio::time::Instant::now();
    let finding = find(&tokens, engine.port, TEXT);
    let time_passes = async {
        while engine.asked() == 0 {
            tokio::task::yield_now().await;
        }
        advance(BUDGET).await;
    };
    let (found, ()) = tokio::join!(finding, time_passes);
    assert!(found.is_err(), "{found:?}");
    assert_eq!(begun.elapsed(), BUDGET);

    let again = find(&tokens, engine.port, TEXT).await;
    assert_eq!(again, Err(TokenFault::Nobody));
    assert_eq!(begun.elapsed(), BUDGET, "who rests costs nothing");
}

#[rstest]
#[case::a_list(r#"{"model":"m","prompt":[5,6,7]}"#, &[5, 6, 7])]
#[case::an_empty_text(r#"{"model":"m","prompt":""}"#, &[])]
#[tokio::test]
async fn nobody_is_asked_for_what_is_known(#[case] body: &str, #[case] expected: &[u32]) {
    let engine = Engine::start(&[]).await;
    assert_eq!(
        find(&patient(), engine.port, body).await.as_deref(),
        Ok(expected)
    );
    assert_eq!(engine.asked(), 0);
}

#[tokio::test]
async fn a_text_that_is_a_number_is_a_text() {
    let engine = Engine::start(&[(200, r#"{"tokens":[9]}"#)]).await;
    let body = r#"{"model":"m","prompt":"17"}"#;
    assert_eq!(find(&patient(), engine.port, body).await, Ok(vec![9]));
}

#[rstest]
#[case::no_such_path(404, TokenFault::Unsupported)]
#[case::no_such_method(405, TokenFault::Unsupported)]
#[case::out_of_order(500, TokenFault::Failed)]
#[tokio::test]
async fn an_engine_that_does_not_tokenize_is_told_from_one_that_failed(
    #[case] status: u16,
    #[case] fault: TokenFault,
) {
    let answers: &'static [(u16, &'static str)] = Box::leak(Box::new([(status, "")]));
    let engine = Engine::start(answers).await;
    let tokens = patient();
    assert_eq!(find(&tokens, engine.port, TEXT).await, Err(fault));
    // While it is left alone that is still known, and costs it nothing.
    let again = match fault {
        TokenFault::Unsupported => fault,
        _ => TokenFault::Nobody,
    };
    assert_eq!(find(&tokens, engine.port, TEXT).await, Err(again));
    assert_eq!(engine.asked(), 1);
}
