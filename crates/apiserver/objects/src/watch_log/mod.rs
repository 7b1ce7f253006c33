//! Recent changes, bounded by number and size, and how a watch reads them.
//!
//! A watch is a position (the version it has seen) and a query; [`Store::start_watch`] and
//! [`Store::poll_watch`] give the events since then and the new position. Whoever falls behind what
//! the log holds is told that its version expired, so a slow watch costs no memory.
//!
//! # Invariants
//!
//! - Events applied in order to the state at the start give the state that a list shows.
//! - An object that stops matching a watch's selectors is a `DELETED` event for it, one that starts to
//!   match an `ADDED`.

mod event;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use event::{WatchEvent, WatchEventType, bookmark, event_line};

use crate::error::ApiError;
use crate::resource::{GroupResource, Resource};
use crate::selector::{FieldSelector, LabelSelector};
use crate::store::{ListQuery, RawListOptions, Store, VersionRule};
use crate::write::Change;

/// How much history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Most changes.
    pub changes: usize,
    /// Most bytes of objects, by [`crate::Object::footprint`].
    pub bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            changes: 16_384,
            bytes: 32 << 20,
        }
    }
}

/// The most recent changes of all resources, oldest first.
#[derive(Debug, Default)]
pub struct WatchLog {
    limits: LogLimits,
    changes: VecDeque<Change>,
    bytes: usize,
    /// The newest version that is no longer held.
    compacted: u64,
}

/// What a watch is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchQuery {
    /// The resource watched.
    pub resource: GroupResource,
    /// Only this namespace; `None` is all.
    pub namespace: Option<String>,
    /// Labels asked for.
    pub labels: LabelSelector,
    /// Field values asked for.
    pub fields: FieldSelector,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchStart {
    /// Only changes after this version; `None` is after the present.
    pub after: Option<u64>,
    /// Whether the present objects come first, as `ADDED`.
    pub initial: InitialEvents,
}

/// Whether a watch begins with the present objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialEvents {
    /// Changes only.
    Skip,
    /// Present objects, then changes.
    Send,
    /// Present objects, a bookmark that says they are complete, then changes.
    SendAndMark,
}

/// What a watch gets at a time.
#[derive(Debug, Clone, Default)]
pub struct WatchBatch {
    /// Events in order.
    pub events: Vec<WatchEvent>,
    /// The version seen so far: where to go on, and what a bookmark may say.
    pub cursor: u64,
    /// Whether a bookmark with the end-of-initial-events mark must follow these events.
    pub marks_initial_end: bool,
}

impl WatchLog {
    pub(crate) fn new(limits: LogLimits, compacted: u64) -> Self {
        Self {
            limits,
            compacted,
            ..Self::default()
        }
    }

    /// Versions up to this one cannot be continued from any more (the version itself can).
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Number of changes held.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True if no change is held.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of objects held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes after `version`, oldest first.
    pub fn since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, ApiError> {
        if version < self.compacted {
            return Err(ApiError::Expired {
                message: format!("too old resource version: {version} ({})", self.compacted),
                continue_token: None,
            });
        }
        let start = self
            .changes
            .partition_point(|change| change.version <= version);
        Ok(self.changes.range(start..))
    }

    pub(crate) fn append(&mut self, change: Change) {
        self.bytes += change.object.footprint();
        self.changes.push_back(change);
        while self.changes.len() > self.limits.changes || self.bytes > self.limits.bytes {
            if !self.drop_oldest() {
                break;
            }
        }
    }

    /// Forgets changes up to `version`, as a compaction does.
    pub fn compact_through(&mut self, version: u64) {
        while self
            .changes
            .front()
            .is_some_and(|change| change.version <= version)
        {
            self.drop_oldest();
        }
        self.compacted = self.compacted.max(version);
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(change) = self.changes.pop_front() else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(change.object.footprint());
        self.compacted = change.version;
        true
    }
}

impl RawListOptions {
    /// Reads a watch's options.
    pub fn watch_query(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
    ) -> Result<(WatchQuery, WatchStart), ApiError> {
        self.check_watch()?;
        let query = WatchQuery {
            resource: resource.group_resource.clone(),
            namespace: namespace.map(str::to_owned),
            labels: LabelSelector::parse(self.label_selector.as_deref().unwrap_or_default())?,
            fields: FieldSelector::parse(
                self.field_selector.as_deref().unwrap_or_default(),
                resource,
            )?,
        };
        let version = self.version_number()?;
        let start = match (self.send_initial_events, version) {
            (Some(true), after) => WatchStart {
                after,
                initial: InitialEvents::SendAndMark,
            },
            (Some(false), None | Some(0)) => WatchStart {
                after: None,
                initial: InitialEvents::Skip,
            },
            (None, None | Some(0)) => WatchStart {
                after: None,
                initial: InitialEvents::Send,
            },
            (_, after) => WatchStart {
                after,
                initial: InitialEvents::Skip,
            },
        };
        Ok((query, start))
    }
}

impl Store {
    /// The first events of a watch.
    pub fn start_watch(
        &self,
        query: &WatchQuery,
        start: WatchStart,
    ) -> Result<WatchBatch, ApiError> {
        if start.initial == InitialEvents::Skip {
            return self.poll_watch(query, start.after.unwrap_or(self.version()));
        }
        let list = ListQuery {
            namespace: query.namespace.clone(),
            labels: query.labels.clone(),
            fields: query.fields.clone(),
            version: start
                .after
                .map_or(VersionRule::Latest, VersionRule::NotOlderThan),
            ..ListQuery::default()
        };
        let page = self.list(&query.resource, &list)?;
        Ok(WatchBatch {
            events: page.items.into_iter().map(WatchEvent::added).collect(),
            cursor: page.version,
            marks_initial_end: start.initial == InitialEvents::SendAndMark,
        })
    }

    /// Events after `cursor`.
    pub fn poll_watch(&self, query: &WatchQuery, cursor: u64) -> Result<WatchBatch, ApiError> {
        let events = self
            .log()
            .since(cursor)?
            .filter_map(|change| WatchEvent::of_change(change, query))
            .collect();
        Ok(WatchBatch {
            events,
            cursor: cursor.max(self.version()),
            marks_initial_end: false,
        })
    }
}
