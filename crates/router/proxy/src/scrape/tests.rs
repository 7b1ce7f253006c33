use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kthena_api::model_server::InferenceEngine;
use kthena_router_scheduler::{Endpoint, PodIdentity};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{EngineFigures, OUTDATED, Pod, ScrapeConfig, Scraper, Visitor};

const DEADLINE: Duration = Duration::from_mins(1);

/// An engine that answers whatever was set for a path and counts what it was asked.
#[derive(Clone)]
struct Engine {
    address: SocketAddr,
    pages: Arc<Mutex<HashMap<&'static str, String>>>,
    asked: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    mute: Arc<AtomicBool>,
}

impl Engine {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let engine = Self {
            address: listener.local_addr().unwrap(),
            pages: Arc::default(),
            asked: Arc::default(),
            open: Arc::default(),
            mute: Arc::default(),
        };
        let own = engine.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(stream));
            }
        });
        engine
    }

    async fn serve(self, mut stream: TcpStream) {
        self.open.fetch_add(1, Ordering::SeqCst);
        let mut request = vec![0; 4096];
        while let Ok(size @ 1..) = stream.read(&mut request).await {
            let head = String::from_utf8_lossy(&request[..size]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.mute.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let page = self.pages.lock().unwrap().get(path.as_str()).cloned();
            let answer = match page {
                Some(page) => format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{page}",
                    page.len()
                ),
                None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    fn set(&self, path: &'static str, page: impl Into<String>) {
        self.pages.lock().unwrap().insert(path, page.into());
    }

    fn waiting(&self, waiting: u32) {
        self.set(
            "/metrics",
            format!(
                "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting {waiting}\n"
            ),
        );
    }

    fn busy(&self, running: u32, waiting: u32) {
        self.set(
            "/metrics",
            format!(
                "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running {running}\n\
                 # TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting {waiting}\n"
            ),
        );
    }

    fn pod(&self, name: &str) -> Pod {
        pod(name, self.address)
    }
}

fn pod(name: &str, address: SocketAddr) -> Pod {
    let identity = PodIdentity {
        namespace: "default".into(),
        name: name.into(),
        uid: name.into(),
    };
    Pod {
        endpoint: Arc::new(Endpoint::new(identity)),
        address,
        tls: None,
        engine: InferenceEngine::default(),
        cache_events: Arc::default(),
    }
}

struct Running {
    pods: watch::Sender<Option<Arc<[Pod]>>>,
    first_round: oneshot::Receiver<()>,
    figures: Arc<EngineFigures>,
}

fn start(config: ScrapeConfig, pods: &[Pod]) -> Running {
    let figures = Arc::new(EngineFigures::default());
    let (sender, receiver) = watch::channel(Some(Arc::from(pods)));
    let (done, first_round) = oneshot::channel();
    let scraper = Scraper::new(config, Instant::now(), Arc::clone(&figures));
    tokio::spawn(scraper.run(receiver, move || done.send(()).unwrap()));
    Running {
        pods: sender,
        first_round,
        figures,
    }
}

fn quick() -> ScrapeConfig {
    ScrapeConfig {
        interval: Duration::from_millis(10),
        ..ScrapeConfig::default()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

fn waiting(pod: &Pod) -> Option<u32> {
    pod.endpoint.sample().map(|sample| sample.waiting)
}

#[tokio::test]
async fn a_pod_is_asked_at_once_and_again() {
    let engine = Engine::start().await;
    engine.waiting(3);
    engine.set("/v1/models", r#"{"data":[{"id":"base"},{"id":"adapter"}]}"#);
    let pod = engine.pod("a");
    let running = start(quick(), std::slice::from_ref(&pod));
    running.first_round.await.unwrap();
    assert_eq!(waiting(&pod), Some(3));
    assert!(pod.endpoint.models().contains("adapter"));
    let taken = pod.endpoint.sample().unwrap().taken_at;
    engine.waiting(5);
    until("a second sample", || waiting(&pod) == Some(5)).await;
    assert!(pod.endpoint.sample().unwrap().taken_at > taken);
    assert_eq!(engine.open.load(Ordering::SeqCst), 1, "connections");
}

#[tokio::test]
async fn a_failed_visit_leaves_what_was_known_and_its_age() {
    let engine = Engine::start().await;
    engine.busy(2, 3);
    engine.set("/v1/models", r#"{"data":[{"id":"base"}]}"#);
    let pod = engine.pod("a");
    let running = start(quick(), std::slice::from_ref(&pod));
    running.first_round.await.unwrap();
    engine.set("/metrics", "vllm:num_requests_waiting broken\n");
    engine.set("/v1/models", "broken");
    until("failures", || running.figures.failures() > 2).await;
    let sample = pod.endpoint.sample().unwrap();
    assert_eq!(sample.running, 2);
    assert!(pod.endpoint.models().contains("base"));
    engine.waiting(4);
    until("recovery", || waiting(&pod) == Some(4)).await;
    assert!(pod.endpoint.sample().unwrap().taken_at > sample.taken_at);
}

#[rstest]
#[case::that_breaks("vllm:num_requests_waiting broken\n")]
#[case::that_has_no_metrics_any_more("up 1\n")]
#[tokio::test]
async fn a_queue_is_believed_in_for_a_while_only(#[case] page: &str) {
    const INTERVAL: Duration = Duration::from_hours(1);
    let engine = Engine::start().await;
    engine.busy(2, 3);
    let pod = engine.pod("a");
    let figures = Arc::new(EngineFigures::default());
    let scraper = Scraper::new(
        ScrapeConfig::every(INTERVAL),
        Instant::now(),
        Arc::clone(&figures),
    );
    let mut visitor = Visitor::new(Arc::clone(&scraper.common), &pod);
    visitor.visit().await;
    let later = async |intervals: u32| {
        tokio::time::pause();
        tokio::time::advance(INTERVAL * intervals).await;
        tokio::time::resume();
    };

    engine.set("/metrics", page);
    later(OUTDATED - 1).await;
    visitor.visit().await;
    assert_eq!((waiting(&pod), figures.outdated()), (Some(3), 0));
    assert_eq!(pod.endpoint.measured_elsewhere(), 5);

    later(1).await;
    visitor.visit().await;
    assert_eq!((waiting(&pod), figures.outdated()), (Some(0), 1));
    assert_eq!(pod.endpoint.measured_elsewhere(), 0);
    assert_eq!(pod.endpoint.sample().unwrap().running, 2);

    engine.waiting(4);
    visitor.visit().await;
    assert_eq!((waiting(&pod), figures.outdated()), (Some(4), 0));
    assert_eq!(pod.endpoint.measured_elsewhere(), 4);

    engine.set("/metrics", page);
    later(OUTDATED + 1).await;
    visitor.visit().await;
    assert_eq!(figures.outdated(), 1);
    drop(visitor);
    assert_eq!(figures.outdated(), 0, "the pod is gone");
}

#[tokio::test]
async fn a_mute_pod_delays_nobody_else() {
    let mute = Engine::start().await;
    mute.mute.store(true, Ordering::SeqCst);
    let engine = Engine::start().await;
    engine.waiting(1);
    let pods = [mute.pod("mute"), engine.pod("a")];
    let running = start(quick(), &pods);
    for round in 2..20 {
        engine.waiting(round);
        until("a sample", || waiting(&pods[1]) == Some(round)).await;
    }
    assert_eq!(waiting(&pods[0]), None);
    drop(running);
}

#[tokio::test]
async fn an_engine_without_metrics_still_tells_its_models() {
    let engine = Engine::start().await;
    engine.set("/v1/models", r#"{"data":[{"id":"base"}]}"#);
    let pod = engine.pod("a");
    let running = start(quick(), std::slice::from_ref(&pod));
    running.first_round.await.unwrap();
    assert!(pod.endpoint.models().contains("base"));
    assert_eq!(pod.endpoint.sample(), None);
    assert_eq!(running.figures.failures(), 0);
}

#[tokio::test]
async fn an_empty_table_is_a_first_round() {
    let running = start(quick(), &[]);
    tokio::time::timeout(DEADLINE, running.first_round)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn the_first_round_does_not_wait_for_ever() {
    let mute = Engine::start().await;
    mute.mute.store(true, Ordering::SeqCst);
    let config = ScrapeConfig {
        first_round: Duration::from_millis(50),
        ..quick()
    };
    let running = start(config, &[mute.pod("mute")]);
    tokio::time::timeout(DEADLINE, running.first_round)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn pods_come_and_go() {
    let engine = Engine::start().await;
    engine.waiting(1);
    engine.set("/v1/models", r#"{"data":[{"id":"base"}]}"#);
    let (old, new) = (engine.pod("old"), engine.pod("new"));
    let running = start(quick(), std::slice::from_ref(&old));
    until("a sample", || waiting(&old) == Some(1)).await;
    running.pods.send_replace(Some(Arc::from([new.clone()])));
    until("a sample", || waiting(&new) == Some(1)).await;
    until("the old connection's end", || {
        engine.open.load(Ordering::SeqCst) == 1
    })
    .await;
    let last = old.endpoint.sample().unwrap().taken_at;
    let visits = running.figures.visits();
    until("more visits", || running.figures.visits() > visits + 5).await;
    assert_eq!(old.endpoint.sample().unwrap().taken_at, last);
}

#[tokio::test]
async fn an_update_of_a_known_pod_starts_nothing() {
    let engine = Engine::start().await;
    engine.waiting(1);
    let pod = engine.pod("a");
    let config = ScrapeConfig {
        interval: Duration::from_hours(1),
        ..quick()
    };
    let running = start(config, std::slice::from_ref(&pod));
    running.first_round.await.unwrap();
    let asked = engine.asked.load(Ordering::SeqCst);
    let other = engine.pod("b");
    running
        .pods
        .send_replace(Some(Arc::from([pod.clone(), other.clone()])));
    until("the other's sample", || waiting(&other) == Some(1)).await;
    assert_eq!(engine.open.load(Ordering::SeqCst), 2, "connections");
    assert!(engine.asked.load(Ordering::SeqCst) <= asked + 2);
}

#[tokio::test]
async fn at_most_so_many_connections_are_opened_at_once() {
    let mute = Engine::start().await;
    mute.mute.store(true, Ordering::SeqCst);
    let config = ScrapeConfig {
        dials: 10.try_into().unwrap(),
        ..quick()
    };
    let pods: Vec<Pod> = (0..50).map(|at| mute.pod(&format!("pod-{at}"))).collect();
    let running = start(config, &pods);
    until("eight dials", || mute.open.load(Ordering::SeqCst) == 8).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(mute.open.load(Ordering::SeqCst), 8);
    drop(running);
}
