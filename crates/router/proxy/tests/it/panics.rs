//! A fault in the router's own code costs the request that met it, and no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use kthena_router_scheduler::{Candidates, Profile, RequestFacts, Score, Scorer};

use crate::client::{chat, get};
use crate::engine::{Engine, ok};
use crate::setup::TestRouter;

/// Panics while it is told to.
struct Fragile(Arc<AtomicBool>);

impl Scorer for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn score(&self, _: &RequestFacts<'_>, _: &Candidates<'_>, _: &mut [Score], _: &mut Rng) {
        assert!(
            !self.0.load(Ordering::Relaxed),
            "a fault that a test put here"
        );
    }
}

#[tokio::test]
async fn the_request_is_answered_counted_and_logged_and_its_connection_closed() {
    let engine = Engine::start(|_, _| ok("\"fine\"")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let broken = Arc::new(AtomicBool::new(true));
    let fragile = Fragile(Arc::clone(&broken));
    router
        .publisher
        .place_by(Profile::new(vec![], vec![(Arc::new(fragile), 1)], vec![]));
    let mut other = router.client().await;
    assert_eq!(other.ask(&get("/healthz")).await.status, 200);
    let mut client = router.client().await;

    let answer = client.ask(&chat("m")).await;

    assert_eq!((answer.status, answer.text()), (500, ""));
    assert_eq!(answer.header("connection"), Some("close"));
    client.until_closed().await;
    broken.store(false, Ordering::Relaxed);
    assert_eq!(other.ask(&chat("m")).await.text(), "\"fine\"");
    router.until_metric("kthena_router_active_requests 0").await;
    router
        .until_metric(r#"kthena_router_active_downstream_requests{model="m"} 0"#)
        .await;
    let log = router.stop().await;
    assert_eq!(log.len(), 2);
    assert!(log[0].contains(" 500 "), "{}", log[0]);
    assert!(log[0].contains("error=\"panic:"), "{}", log[0]);
}
