//! Watches: a position in the log of changes, read at the client's pace.
//!
//! # Invariants
//!
//! - A watch holds a position and at most one batch of lines, whatever the client does.
//! - A client that falls behind what the log holds gets an `ERROR` event with status 410, and its watch ends.
//! - Events are in version order, and a bookmark never names a version whose events were not sent.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use kthena_apiserver_objects::{
    ApiError, FieldSelector, Object, WatchEvent, WatchQuery,
    watch_log::{WatchBatch, bookmark, event_line},
};
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{Call, present::Presenter};
use crate::{answer, answer::Answer, query::ReadOptions, server::Inner};

/// How often a quiet watch is told how far it is.
const BOOKMARKS: Duration = Duration::from_mins(1);

/// The longest a watch lasts when the client names no time, in seconds.
const LIFETIME: u64 = 3600;

/// A running watch.
struct Watch {
    server: Arc<Inner>,
    query: WatchQuery,
    presenter: Presenter,
    versions: watch::Receiver<u64>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    state: State,
    /// Whether a table was sent already.
    headed: bool,
}

enum State {
    /// The first events, which were taken when the request came.
    Begin(WatchBatch),
    /// Everything up to this version was sent.
    At(u64),
    /// An error was sent.
    Broken,
}

/// Starts a watch of a collection or of one object.
pub(crate) fn watch(call: &Call, options: &ReadOptions) -> Answer {
    let presenter = Presenter::new(call)?;
    let (mut query, start) = options
        .raw
        .watch_query(&call.kind.rules, call.path.namespace.as_deref())?;
    if let Some(name) = &call.path.name {
        query.fields = FieldSelector::by_name(name);
    }
    // Subscribed before the first look, so that no change falls between the two.
    let versions = call.server.engine.versions();
    let begun = call.server.engine.store().start_watch(&query, start);
    let state = match begun {
        Ok(batch) => State::Begin(batch),
        // Clients expect an outdated version to be reported inside the stream.
        Err(error @ ApiError::Expired { .. }) => {
            let line = error_line(&error);
            return Ok(answer::stream("application/json", stream::iter([line])));
        }
        Err(error) => return Err(error),
    };
    let lifetime = options
        .timeout_seconds
        .filter(|seconds| *seconds > 0)
        .unwrap_or(LIFETIME);
    let now = Instant::now();
    let watch = Watch {
        server: Arc::clone(&call.server),
        query,
        presenter,
        versions,
        bookmarks: options.allow_bookmarks,
        next_bookmark: now + BOOKMARKS,
        deadline: now + Duration::from_secs(lifetime),
        state,
        headed: false,
    };
    Ok(answer::stream("application/json", watch.lines()))
}

impl Watch {
    fn lines(self) -> impl Stream<Item = Bytes> + Send {
        stream::unfold(self, |mut watch| async move {
            let chunk = watch.next().await?;
            Some((chunk, watch))
        })
    }

    /// The next lines; `None` at the end of the watch.
    async fn next(&mut self) -> Option<Bytes> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Begin(batch) => {
                let chunk = self.batch(&batch);
                if !chunk.is_empty() {
                    return Some(chunk);
                }
            }
            other => self.state = other,
        }
        self.wait().await
    }

    async fn wait(&mut self) -> Option<Bytes> {
        loop {
            let State::At(cursor) = self.state else {
                return None;
            };
            self.versions.borrow_and_update();
            let polled = self.server.engine.store().poll_watch(&self.query, cursor);
            match polled {
                Ok(batch) => {
                    let chunk = self.batch(&batch);
                    if !chunk.is_empty() {
                        return Some(chunk);
                    }
                }
                Err(error) => {
                    self.state = State::Broken;
                    return Some(error_line(&error));
                }
            }
            let closing = self.server.closing.clone();
            tokio::select! {
                () = closing.cancelled() => return None,
                () = tokio::time::sleep_until(self.deadline) => return None,
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    return Some(self.bookmark(false));
                }
                changed = self.versions.changed() => changed.ok()?,
            }
        }
    }

    fn batch(&mut self, batch: &WatchBatch) -> Bytes {
        self.state = State::At(batch.cursor);
        let mut lines = Vec::new();
        for event in &batch.events {
            lines.extend_from_slice(&self.line(event));
        }
        if batch.marks_initial_end {
            lines.extend_from_slice(&self.bookmark(true));
        }
        lines.into()
    }

    fn line(&mut self, event: &WatchEvent) -> Bytes {
        let object = self.present(&event.object);
        event_line(event.kind.word(), &object)
    }

    fn present(&mut self, object: &Object) -> Bytes {
        let shown = self.presenter.object(object, Inner::now());
        if std::mem::replace(&mut self.headed, true) {
            return self.presenter.forget_definitions(shown);
        }
        shown
    }

    fn bookmark(&mut self, ends_initial: bool) -> Bytes {
        self.next_bookmark = Instant::now() + BOOKMARKS;
        let cursor = match self.state {
            State::At(cursor) => cursor,
            State::Begin(_) | State::Broken => 0,
        };
        let (api_version, kind) = self.presenter.bookmark_type();
        let object = bookmark(&api_version, &kind, cursor, ends_initial);
        value_line("BOOKMARK", &object)
    }
}

fn error_line(error: &ApiError) -> Bytes {
    value_line("ERROR", &error.status())
}

fn value_line(word: &str, object: &Value) -> Bytes {
    event_line(word, object.to_string().as_bytes())
}
