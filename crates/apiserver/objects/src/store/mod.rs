//! The objects themselves: tables by resource, the indexes over them, and the log of recent changes.
//!
//! Reads answer from memory. Writes come in two steps: a plan (see [`crate::write`]) computes what
//! would change and with which version; [`Store::commit`] takes it over once the caller has made it
//! durable. In between nothing is visible.
//!
//! # Invariants
//!
//! - Versions of committed changes are consecutive.
//! - Every index agrees with the tables after each commit.
//!
//! # Where to go next
//!
//! [`ListQuery`] for list semantics, [`crate::watch_log`] for watches.

mod continuation;
mod index;
mod list;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::error::ApiError;
use crate::object::{Object, ObjectKey};
use crate::resource::GroupResource;
use crate::watch_log::{LogLimits, WatchLog};
use crate::write::{Change, ChangeKind};

use index::Indexes;
pub use index::ObjectRef;
pub use list::{ListPage, ListQuery, RawListOptions, VersionRule};

pub(crate) type Table = BTreeMap<ObjectKey, Arc<Object>>;

/// All objects, their indexes and recent history.
#[derive(Debug, Default)]
pub struct Store {
    version: u64,
    tables: BTreeMap<GroupResource, Table>,
    indexes: Indexes,
    log: WatchLog,
}

impl Store {
    /// An empty store whose log keeps what `limits` allow. The first change gets version 1.
    pub fn new(limits: LogLimits) -> Self {
        Self {
            log: WatchLog::new(limits, 0),
            ..Self::default()
        }
    }

    /// A store with what was on disk: `version` is the last one given out before.
    ///
    /// Watches from before that version are told to start anew.
    pub fn restore(
        limits: LogLimits,
        version: u64,
        objects: impl IntoIterator<Item = (GroupResource, Object)>,
    ) -> Self {
        let mut store = Self {
            version,
            log: WatchLog::new(limits, version),
            ..Self::default()
        };
        for (resource, object) in objects {
            let object = Arc::new(object);
            store.version = store.version.max(object.version());
            store.indexes.insert(&resource, &object);
            store
                .tables
                .entry(resource)
                .or_default()
                .insert(object.key().clone(), object);
        }
        store.log = WatchLog::new(limits, store.version);
        store
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The log that watches read.
    pub fn log(&self) -> &WatchLog {
        &self.log
    }

    /// The current version of an object.
    pub fn get(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Option<&Arc<Object>> {
        self.tables
            .get(resource)?
            .get(&ObjectKey::new(namespace, name))
    }

    /// The current version of an object, or the error a client gets.
    pub fn fetch(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<&Arc<Object>, ApiError> {
        self.get(resource, namespace, name)
            .ok_or_else(|| ApiError::not_found(resource, name))
    }

    /// The object with that uid.
    pub fn by_uid(&self, uid: &str) -> Option<(&GroupResource, &Arc<Object>)> {
        let place = self.indexes.by_uid(uid)?;
        let (resource, table) = self.tables.get_key_value(&place.resource)?;
        Some((resource, table.get(&place.key)?))
    }

    /// Objects that name `uid` as an owner.
    pub fn owned_by<'a>(
        &'a self,
        uid: &str,
    ) -> impl Iterator<Item = (&'a GroupResource, &'a Arc<Object>)> {
        self.indexes.owned_by(uid).filter_map(|place| {
            let (resource, table) = self.tables.get_key_value(&place.resource)?;
            Some((resource, table.get(&place.key)?))
        })
    }

    /// Everything in a namespace, of all resources.
    pub fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a GroupResource, &'a Arc<Object>)> {
        self.tables.iter().flat_map(move |(resource, table)| {
            namespace_range(table, namespace).map(move |object| (resource, object))
        })
    }

    /// All objects of a resource, or those of one namespace, by namespace and name.
    pub fn objects<'a>(
        &'a self,
        resource: &GroupResource,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        self.tables
            .get(resource)
            .into_iter()
            .flat_map(move |table| match namespace {
                Some(namespace) => Box::new(namespace_range(table, namespace)),
                None => Box::new(table.values()) as Box<dyn Iterator<Item = &'a Arc<Object>>>,
            })
    }

    /// The resources that hold at least one object.
    pub fn resources(&self) -> impl Iterator<Item = &GroupResource> {
        self.tables
            .iter()
            .filter(|(_, table)| !table.is_empty())
            .map(|(resource, _)| resource)
    }

    /// Number of objects of a resource.
    pub fn count(&self, resource: &GroupResource) -> usize {
        self.tables.get(resource).map_or(0, BTreeMap::len)
    }

    /// Takes over planned changes. They must have been planned at the present version.
    pub fn commit(&mut self, changes: &[Change]) -> Result<(), ApiError> {
        for change in changes {
            if change.version != self.version + 1 {
                return Err(ApiError::internal(format!(
                    "a change planned as version {} meets a store at {}",
                    change.version, self.version
                )));
            }
            self.version = change.version;
            self.apply(change);
            self.log.append(change.clone());
        }
        Ok(())
    }

    /// Raises the version without a change, for numbers that must not be given out again.
    pub fn advance(&mut self, version: u64) {
        if version > self.version {
            self.version = version;
            self.log.compact_through(version);
        }
    }

    fn apply(&mut self, change: &Change) {
        if let Some(previous) = &change.previous {
            self.indexes.remove(&change.resource, previous);
        }
        let table = self.tables.entry(change.resource.clone()).or_default();
        match change.kind {
            ChangeKind::Deleted => {
                table.remove(change.object.key());
            }
            ChangeKind::Added | ChangeKind::Modified => {
                self.indexes.insert(&change.resource, &change.object);
                table.insert(change.object.key().clone(), change.object.clone());
            }
        }
    }
}

/// The objects of one namespace: keys sort by namespace first.
pub(crate) fn namespace_range<'a>(
    table: &'a Table,
    namespace: &'a str,
) -> impl Iterator<Item = &'a Arc<Object>> {
    let start = ObjectKey::new(namespace, "");
    table
        .range((Bound::Included(start), Bound::Unbounded))
        .take_while(move |(key, _)| key.namespace.as_ref() == namespace)
        .map(|(_, object)| object)
}
