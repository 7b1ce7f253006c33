//! Who is who and who owns whom, kept in step with the tables.

use std::collections::{BTreeMap, HashMap};

use crate::object::{Object, ObjectKey};
use crate::resource::GroupResource;

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// The object's resource.
    pub resource: GroupResource,
    /// Where it lives.
    pub key: ObjectKey,
}

/// Lookups that the tables' order does not give.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    uids: HashMap<Box<str>, ObjectRef>,
    /// Number of references each dependent holds: a sloppy list may name an owner twice.
    dependents: HashMap<Box<str>, BTreeMap<ObjectRef, usize>>,
}

impl Indexes {
    pub(super) fn by_uid(&self, uid: &str) -> Option<&ObjectRef> {
        self.uids.get(uid)
    }

    pub(super) fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a ObjectRef> {
        self.dependents
            .get(uid)
            .into_iter()
            .flat_map(BTreeMap::keys)
    }

    pub(super) fn insert(&mut self, resource: &GroupResource, object: &Object) {
        let place = ObjectRef {
            resource: resource.clone(),
            key: object.key().clone(),
        };
        for owner in object.owners() {
            let dependents = self.dependents.entry(owner.uid.clone()).or_default();
            *dependents.entry(place.clone()).or_default() += 1;
        }
        self.uids.insert(object.uid().into(), place);
    }

    pub(super) fn remove(&mut self, resource: &GroupResource, object: &Object) {
        let place = ObjectRef {
            resource: resource.clone(),
            key: object.key().clone(),
        };
        if self.uids.get(object.uid()) == Some(&place) {
            self.uids.remove(object.uid());
        }
        for owner in object.owners() {
            let Some(dependents) = self.dependents.get_mut(&owner.uid) else {
                continue;
            };
            if let Some(count) = dependents.get_mut(&place) {
                *count -= 1;
                if *count == 0 {
                    dependents.remove(&place);
                }
            }
            if dependents.is_empty() {
                self.dependents.remove(&owner.uid);
            }
        }
    }
}
