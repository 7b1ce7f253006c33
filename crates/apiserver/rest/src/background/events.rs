//! Deletes Events an hour after they were last seen, so that they do not pile up.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kthena_apiserver_objects::{ApiError, DeleteOptions, GroupResource, Object};
use serde_json::Value;

use super::carry_out;
use crate::{handlers::delete, server::Inner};

/// How long an Event is kept.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// How often the Events are looked through.
const INTERVAL: Duration = Duration::from_mins(1);

/// Where an Event says when it was last seen.
const TIMES: [&str; 5] = [
    "/metadata/creationTimestamp",
    "/lastTimestamp",
    "/firstTimestamp",
    "/eventTime",
    "/series/lastObservedTime",
];

/// Looks through the Events until the server closes.
pub(super) async fn run(server: Arc<Inner>) {
    loop {
        let expired = expired(&server);
        carry_out(
            "event expiry",
            expired
                .into_iter()
                .map(|object| remove(Arc::clone(&server), object)),
        )
        .await;
        tokio::select! {
            () = server.closing.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

fn events() -> GroupResource {
    GroupResource::new("", "events")
}

fn expired(server: &Inner) -> Vec<Arc<Object>> {
    let oldest = Inner::now()
        .saturating_sub(LIFETIME)
        .unwrap_or(Timestamp::MIN);
    let all: Vec<Arc<Object>> = server
        .engine
        .store()
        .objects(&events(), None)
        .cloned()
        .collect();
    all.into_iter()
        .filter(|object| last_seen(&object.value()).is_some_and(|time| time < oldest))
        .collect()
}

fn last_seen(event: &Value) -> Option<Timestamp> {
    TIMES
        .iter()
        .filter_map(|path| event.pointer(path)?.as_str()?.parse::<Timestamp>().ok())
        .max()
}

async fn remove(server: Arc<Inner>, event: Arc<Object>) -> Result<(), ApiError> {
    let catalog = server.engine.catalog();
    let kind = catalog.stored_as(&events()).ok_or(ApiError::UnknownPath)?;
    let place = (event.namespace().to_owned(), event.name().to_owned());
    // An Event that was seen again meanwhile stays.
    let options = DeleteOptions {
        resource_version: Some(event.version().to_string()),
        ..DeleteOptions::default()
    };
    match delete::delete(&server, kind, place, options).await {
        Err(ApiError::Conflict { .. }) => Ok(()),
        other => other.map(drop),
    }
}
