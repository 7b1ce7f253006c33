//! The objects of one watch, by key.

use std::collections::HashMap;
use std::sync::Arc;

use crate::target::ObjectKey;
use crate::watch::{Change, Named};

/// What a watch has reported so far. Apply every change in order; read it as a plain map.
#[derive(Debug, Clone)]
pub struct Store<K> {
    objects: HashMap<ObjectKey, Arc<K>>,
    synced: bool,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            synced: false,
        }
    }
}

impl<K: Named> Store<K> {
    /// Takes one change in and names the object it was about, if it was about one.
    ///
    /// An object that cannot be decoded keeps its last good form.
    pub fn apply(&mut self, change: &Change<K>) -> Option<ObjectKey> {
        match change {
            Change::Applied(object) => {
                let key = object.key();
                self.objects.insert(key.clone(), Arc::clone(object));
                Some(key)
            }
            Change::Deleted(object) => {
                let key = object.key();
                self.objects.remove(&key);
                Some(key)
            }
            Change::Undecodable { key, .. } => Some(key.clone()),
            Change::Synced => {
                self.synced = true;
                None
            }
            Change::Absent => None,
        }
    }

    /// Whether the first full list has been taken in.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The object of that name.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    /// All objects, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<K>)> {
        self.objects.iter()
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}
