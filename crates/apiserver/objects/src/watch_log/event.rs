//! What a watch is told of one change, and how it looks on the wire.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::WatchQuery;
use crate::object::Object;
use crate::write::{Change, ChangeKind};

/// The annotation of the bookmark that follows the initial events.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// The type of a watch event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEventType {
    /// The object is new to the watch.
    Added,
    /// The object changed.
    Modified,
    /// The object is gone, or no longer matches.
    Deleted,
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub struct WatchEvent {
    /// What happened.
    pub kind: WatchEventType,
    /// The object after it; for `Deleted` the last state, with the version of the deletion.
    pub object: Arc<Object>,
}

impl WatchEventType {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl WatchEvent {
    /// An object the watch has not seen yet.
    pub fn added(object: Arc<Object>) -> Self {
        Self {
            kind: WatchEventType::Added,
            object,
        }
    }

    /// What `change` means to a watch; `None` if it does not concern it.
    pub fn of_change(change: &Change, query: &WatchQuery) -> Option<Self> {
        if change.resource != query.resource {
            return None;
        }
        if query
            .namespace
            .as_ref()
            .is_some_and(|namespace| namespace != change.object.namespace())
        {
            return None;
        }
        let matches =
            |object: &Object| query.labels.matches(object) && query.fields.matches(object);
        let before = change.previous.as_deref().is_some_and(matches);
        let after = change.kind != ChangeKind::Deleted && matches(&change.object);
        let (kind, object) = match (before, after) {
            (false, false) => return None,
            (false, true) => (WatchEventType::Added, change.object.clone()),
            (true, true) => (WatchEventType::Modified, change.object.clone()),
            (true, false) if change.kind == ChangeKind::Deleted => {
                (WatchEventType::Deleted, change.object.clone())
            }
            (true, false) => {
                // The watch is told the last state it could see, at the version it left.
                let last = change.previous.as_ref()?;
                (
                    WatchEventType::Deleted,
                    Arc::new(last.at_version(change.version)),
                )
            }
        };
        Some(Self { kind, object })
    }

    /// The event as a line of a watch's answer.
    pub fn line(&self) -> Bytes {
        event_line(self.kind.word(), self.object.bytes())
    }
}

/// A line of a watch's answer made of an event type and a serialized object.
pub fn event_line(word: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + word.len() + 24);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(word.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

/// The object of a bookmark event: nothing but the version, and the mark that initial events are complete.
pub fn bookmark(api_version: &str, kind: &str, version: u64, ends_initial: bool) -> Value {
    let mut object = json!({
        "kind": kind,
        "apiVersion": api_version,
        "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null },
    });
    if ends_initial {
        object["metadata"]["annotations"] = json!({ INITIAL_END: "true" });
    }
    object
}
