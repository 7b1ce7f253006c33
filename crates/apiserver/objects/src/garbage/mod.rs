//! Which objects must go because their owners are gone, and which finalizers have done their work.
//!
//! Decisions over the owner index, made anew for each committed change, so that a delete looks only at
//! the objects around it. The caller carries the actions out as writes of its own, whose changes come
//! back here, until nothing is left to do.

use crate::resource::GroupResource;
use crate::store::{ObjectRef, Store};
use crate::write::{Change, Propagation};

/// Something to be done to one object, if it still has this uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Delete it.
    Delete {
        /// The object.
        target: ObjectRef,
        /// Its uid, as a precondition.
        uid: String,
        /// What becomes of its own dependents.
        propagation: Propagation,
    },
    /// Remove owner references.
    DropOwners {
        /// The object.
        target: ObjectRef,
        /// Its uid, as a precondition.
        uid: String,
        /// Uids of the owners to drop.
        owners: Vec<String>,
    },
    /// Remove a finalizer.
    DropFinalizer {
        /// The object.
        target: ObjectRef,
        /// Its uid, as a precondition.
        uid: String,
        /// The finalizer.
        finalizer: &'static str,
    },
}

/// What the collector must know of kinds: an owner of unknown kind may exist elsewhere.
pub trait Kinds {
    /// The resource of a kind, and whether it lives in namespaces; `None` if no such kind is served.
    fn resource_of(&self, api_version: &str, kind: &str) -> Option<(GroupResource, crate::Scope)>;
}

/// What a change makes necessary.
pub fn after(store: &Store, change: &Change, kinds: &dyn Kinds) -> Vec<Action> {
    let _ = (store, change, kinds);
    Vec::new()
}

/// What is necessary anywhere, for the first look after a start.
pub fn sweep(store: &Store, kinds: &dyn Kinds) -> Vec<Action> {
    let _ = (store, kinds);
    Vec::new()
}
