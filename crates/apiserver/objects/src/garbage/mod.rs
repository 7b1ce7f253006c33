//! Which objects must go because their owners are gone, and which finalizers have done their work.
//!
//! Decisions over the owner index, made anew for each committed change, so that a delete looks only at
//! the objects around it. The caller carries the actions out with [`Store::plan_action`], whose changes
//! come back here, until nothing is left to do.
//!
//! # Invariants
//!
//! - An object with one living owner is never deleted, only freed of the dead ones.
//! - An owner counts as dead only if its kind is served and no object of that name has that uid.
//! - An owner that is deleted in the foreground goes after all dependents that block it.

mod action;
#[cfg(test)]
mod tests;

pub use action::Action;

use std::collections::HashSet;
use std::sync::Arc;

use crate::object::{Object, OwnerRef};
use crate::resource::{GroupResource, Scope};
use crate::store::{ObjectRef, Store};
use crate::write::{Change, ChangeKind, FOREGROUND, ORPHAN, Propagation};

/// What the collector must know of kinds: an owner of unknown kind may exist elsewhere.
pub trait Kinds {
    /// The resource of a kind, and whether it lives in namespaces; `None` if no such kind is served.
    fn resource_of(&self, api_version: &str, kind: &str) -> Option<(GroupResource, Scope)>;
}

/// How an owner reference stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The owner lives, or nothing certain is known.
    Solid,
    /// There is no such owner.
    Dangling,
    /// The owner is deleted in the foreground and waits for its dependents.
    Waiting,
}

/// What a change makes necessary, with the change already committed.
pub fn after(store: &Store, change: &Change, kinds: &dyn Kinds) -> Vec<Action> {
    let mut look = Look::new(store, kinds);
    let object = &change.object;
    if change.kind == ChangeKind::Deleted {
        for (resource, dependent) in store.owned_by(object.uid()) {
            look.judge(resource, dependent);
        }
        look.owners_of(object.owners());
    } else {
        look.judge(&change.resource, object);
        if let Some(previous) = &change.previous {
            look.owners_of(previous.owners());
        }
    }
    look.actions
}

/// What is necessary anywhere, for the first look after a start.
pub fn sweep(store: &Store, kinds: &dyn Kinds) -> Vec<Action> {
    let mut look = Look::new(store, kinds);
    for resource in store.resources() {
        for object in store.objects(resource, None) {
            look.judge(resource, object);
        }
    }
    look.actions
}

/// Collects actions, each once.
struct Look<'a> {
    store: &'a Store,
    kinds: &'a dyn Kinds,
    actions: Vec<Action>,
    seen: HashSet<Action>,
}

impl<'a> Look<'a> {
    fn new(store: &'a Store, kinds: &'a dyn Kinds) -> Self {
        Self {
            store,
            kinds,
            actions: Vec::new(),
            seen: HashSet::new(),
        }
    }

    fn push(&mut self, action: Action) {
        if self.seen.insert(action.clone()) {
            self.actions.push(action);
        }
    }

    /// Owners may have waited for just this change. What their other dependents must do was decided when
    /// the wait began; deciding it again for each of them would be quadratic.
    fn owners_of(&mut self, owners: &[OwnerRef]) {
        for owner in owners {
            if let Some((resource, owner)) = self.store.by_uid(&owner.uid) {
                self.end_wait(resource, owner);
            }
        }
    }

    /// Drops the finalizer of an owner that has nothing to wait for any more.
    fn end_wait(&mut self, resource: &GroupResource, owner: &Arc<Object>) {
        if !owner.is_deleting() {
            return;
        }
        let mut dependents = self.store.owned_by(owner.uid());
        if owner.has_finalizer(ORPHAN) {
            if dependents.next().is_none() {
                self.drop_finalizer(resource, owner, ORPHAN);
            }
        } else if owner.has_finalizer(FOREGROUND)
            && !dependents.any(|(_, dependent)| blocks(dependent, owner))
        {
            self.drop_finalizer(resource, owner, FOREGROUND);
        }
    }

    /// What must happen to one object.
    fn judge(&mut self, resource: &GroupResource, object: &Arc<Object>) {
        if object.is_deleting() {
            if object.has_finalizer(ORPHAN) {
                self.let_dependents_go(resource, object);
            } else if object.has_finalizer(FOREGROUND) {
                self.await_dependents(resource, object);
            }
        } else if !object.owners().is_empty() {
            self.judge_owned(resource, object);
        }
    }

    fn let_dependents_go(&mut self, resource: &GroupResource, owner: &Arc<Object>) {
        for (dependent_resource, dependent) in self.store.owned_by(owner.uid()) {
            self.push(Action::DropOwners {
                target: place(dependent_resource, dependent),
                uid: dependent.uid().to_owned(),
                owners: vec![owner.uid().to_owned()],
            });
        }
        self.end_wait(resource, owner);
    }

    fn await_dependents(&mut self, resource: &GroupResource, owner: &Arc<Object>) {
        self.end_wait(resource, owner);
        for (dependent_resource, dependent) in self.store.owned_by(owner.uid()) {
            if !dependent.is_deleting() {
                self.judge_owned(dependent_resource, dependent);
            }
        }
    }

    fn drop_finalizer(
        &mut self,
        resource: &GroupResource,
        object: &Object,
        finalizer: &'static str,
    ) {
        self.push(Action::DropFinalizer {
            target: place(resource, object),
            uid: object.uid().to_owned(),
            finalizer,
        });
    }

    fn judge_owned(&mut self, resource: &GroupResource, object: &Arc<Object>) {
        let standings: Vec<Standing> = object
            .owners()
            .iter()
            .map(|owner| self.standing(object, owner))
            .collect();
        let has = |standing: Standing| standings.contains(&standing);
        let target = place(resource, object);
        let uid = object.uid().to_owned();
        if has(Standing::Solid) {
            let owners: Vec<String> = object
                .owners()
                .iter()
                .zip(&standings)
                .filter(|(_, standing)| **standing != Standing::Solid)
                .map(|(owner, _)| owner.uid.to_string())
                .collect();
            if !owners.is_empty() {
                self.push(Action::DropOwners {
                    target,
                    uid,
                    owners,
                });
            }
        } else if has(Standing::Waiting) && self.store.owned_by(object.uid()).next().is_some() {
            self.break_cycle(resource, object);
            self.push(Action::Delete {
                target,
                uid,
                propagation: Propagation::Foreground,
            });
        } else {
            let propagation = match (
                object.has_finalizer(ORPHAN),
                object.has_finalizer(FOREGROUND),
            ) {
                (true, _) => Propagation::Orphan,
                (false, true) => Propagation::Foreground,
                (false, false) => Propagation::Background,
            };
            self.push(Action::Delete {
                target,
                uid,
                propagation,
            });
        }
    }

    /// Two objects that wait for each other would wait for ever; one of them stops blocking.
    fn break_cycle(&mut self, resource: &GroupResource, object: &Arc<Object>) {
        let waits =
            |dependent: &Object| dependent.is_deleting() && dependent.has_finalizer(FOREGROUND);
        let cyclic = self
            .store
            .owned_by(object.uid())
            .any(|(_, dependent)| waits(dependent));
        if cyclic && object.owners().iter().any(|owner| owner.blocks_owner) {
            let uid = object.uid().to_owned();
            self.push(Action::Unblock {
                target: place(resource, object),
                uid,
            });
        }
    }

    fn standing(&self, dependent: &Object, owner: &OwnerRef) -> Standing {
        let Some((resource, scope)) = self.kinds.resource_of(&owner.api_version, &owner.kind)
        else {
            return Standing::Solid;
        };
        let namespace = match (scope, dependent.namespace()) {
            (Scope::Cluster, _) => "",
            // Nothing outside namespaces can be owned from inside one; such a reference is left alone.
            (Scope::Namespaced, "") => return Standing::Solid,
            (Scope::Namespaced, namespace) => namespace,
        };
        match self.store.get(&resource, namespace, &owner.name) {
            Some(found) if *found.uid() == *owner.uid => {
                if found.is_deleting() && found.has_finalizer(FOREGROUND) {
                    Standing::Waiting
                } else {
                    Standing::Solid
                }
            }
            _ => Standing::Dangling,
        }
    }
}

fn place(resource: &GroupResource, object: &Object) -> ObjectRef {
    ObjectRef {
        resource: resource.clone(),
        key: object.key().clone(),
    }
}

/// True if a foreground deletion of `owner` waits for `dependent`.
fn blocks(dependent: &Object, owner: &Object) -> bool {
    dependent
        .owners()
        .iter()
        .any(|reference| reference.blocks_owner && *reference.uid == *owner.uid())
}
