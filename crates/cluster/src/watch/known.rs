//! Remembers what was reported and turns what is read into changes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::de::IgnoredAny;

use super::{Change, Decode};
use crate::head::{self, Head};
use crate::target::ObjectKey;

/// An object that knows its own key.
pub trait Named {
    /// Namespace and name.
    fn key(&self) -> ObjectKey;
}

impl<K: kube::Resource> Named for K {
    fn key(&self) -> ObjectKey {
        let metadata = self.meta();
        ObjectKey::new(
            metadata.namespace.clone().unwrap_or_default(),
            metadata.name.clone().unwrap_or_default(),
        )
    }
}

/// What was last reported of one object.
struct Entry<K> {
    uid: Box<str>,
    version: Box<str>,
    object: Option<Arc<K>>,
}

/// The objects reported so far, and the changes that wait to be taken.
pub(super) struct Known<K> {
    entries: HashMap<ObjectKey, Entry<K>>,
    pending: VecDeque<Change<K>>,
    decode: Decode<K>,
}

impl<K> Known<K> {
    pub(super) fn new(decode: Decode<K>) -> Self {
        Self {
            entries: HashMap::new(),
            pending: VecDeque::new(),
            decode,
        }
    }

    pub(super) fn take(&mut self) -> Option<Change<K>> {
        self.pending.pop_front()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn report(&mut self, change: Change<K>) {
        self.pending.push_back(change);
    }

    /// Notes that the object exists in this form; the answer is its key and version.
    ///
    /// What is no JSON is an error and changes nothing; JSON that is no `K` is reported as such.
    pub(super) fn stored(&mut self, raw: &str) -> Result<(ObjectKey, String), serde_json::Error> {
        let Head {
            name,
            namespace,
            uid,
            resource_version,
        } = head::read(raw)?;
        let key = ObjectKey::new(namespace, name);
        let previous = self.entries.get(&key);
        if previous.is_some_and(|entry| *entry.uid == *uid && *entry.version == *resource_version) {
            return Ok((key, resource_version));
        }
        let decoded = self.decoded(raw)?;
        let previous = self.entries.remove(&key);
        let same = previous.as_ref().is_some_and(|entry| *entry.uid == *uid);
        let mut last = previous.and_then(|entry| entry.object);
        if !same && let Some(gone) = last.take() {
            self.report(Change::Deleted(gone));
        }
        let object = match decoded {
            Ok(object) => {
                let object = Arc::new(object);
                self.report(Change::Applied(Arc::clone(&object)));
                Some(object)
            }
            Err(fault) => {
                let key = key.clone();
                self.report(Change::Undecodable { key, fault });
                last
            }
        };
        let entry = Entry {
            uid: uid.into(),
            version: resource_version.as_str().into(),
            object,
        };
        self.entries.insert(key.clone(), entry);
        Ok((key, resource_version))
    }

    /// Notes that the object is gone; the answer is the version of its removal.
    pub(super) fn removed(&mut self, raw: &str) -> Result<String, serde_json::Error> {
        let head = head::read(raw)?;
        let decoded = self.decoded(raw)?;
        let key = ObjectKey::new(head.namespace, head.name);
        let last = self.entries.remove(&key).and_then(|entry| entry.object);
        // The final form says more than the last one (deletion time, exit codes), if it can be read.
        let gone = match (decoded, last) {
            (Ok(object), Some(_)) => Some(Arc::new(object)),
            (Err(_), last) => last,
            (Ok(_), None) => None,
        };
        if let Some(gone) = gone {
            self.report(Change::Deleted(gone));
        }
        Ok(head.resource_version)
    }

    /// The object, or what is wrong with it; an error if the text is no JSON.
    fn decoded(&self, raw: &str) -> Result<Result<K, String>, serde_json::Error> {
        match (self.decode)(raw) {
            Ok(object) => Ok(Ok(object)),
            // A decoder that stops at the first fault has not seen the rest of the text.
            Err(fault) if fault.is_data() => {
                serde_json::from_str::<IgnoredAny>(raw)?;
                Ok(Err(fault.to_string()))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Reports as deleted all that a full list did not contain.
    pub(super) fn keep_only(&mut self, seen: &HashSet<ObjectKey>) {
        let mut gone: Vec<_> = self
            .entries
            .keys()
            .filter(|key| !seen.contains(key))
            .cloned()
            .collect();
        gone.sort_unstable();
        for key in gone {
            if let Some(Entry {
                object: Some(object),
                ..
            }) = self.entries.remove(&key)
            {
                self.report(Change::Deleted(object));
            }
        }
    }
}
