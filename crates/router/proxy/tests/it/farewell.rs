//! What a router says when it could not wait any longer.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::client::chat;
use crate::engine::{Engine, Step};
use crate::setup::{TestRouter, config};

/// Keeps the texts of warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn the_number_of_requests_that_were_cut_is_logged() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let engine = Engine::start(|_, _| vec![Step::UntilClosed]).await;
    let mut config = config();
    config.drain_timeout = Duration::from_millis(50);
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    let mut clients = Vec::new();
    for number in 1..=2 {
        let mut client = router.client().await;
        client.send(&chat("m")).await;
        engine.until_seen(number).await;
        clients.push(client);
    }

    router.stop().await;

    let said = warnings.0.lock().unwrap().clone();
    assert!(
        said.contains(&"Drain timeout exceeded, 2 requests still inflight".to_owned()),
        "{said:?}"
    );
}
