//! What the collector wants done, and the plan for it.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::meta;
use crate::resource::Resource;
use crate::store::{ObjectRef, Store};
use crate::write::{Author, Delete, DeleteOptions, Part, Planned, Propagation, Update, admit_all};

/// Something to be done to one object, if it still has this uid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// Let its owners go before it.
    Unblock {
        /// The object.
        target: ObjectRef,
        /// Its uid, as a precondition.
        uid: String,
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

impl Action {
    /// The object it is about.
    pub fn target(&self) -> &ObjectRef {
        match self {
            Self::Delete { target, .. }
            | Self::DropOwners { target, .. }
            | Self::Unblock { target, .. }
            | Self::DropFinalizer { target, .. } => target,
        }
    }

    fn uid(&self) -> &str {
        match self {
            Self::Delete { uid, .. }
            | Self::DropOwners { uid, .. }
            | Self::Unblock { uid, .. }
            | Self::DropFinalizer { uid, .. } => uid,
        }
    }
}

impl Store {
    /// Plans an action on an object of `resource`; `None` if the object is gone or another one by now.
    pub fn plan_action(
        &self,
        resource: &Resource,
        action: &Action,
        now: Timestamp,
    ) -> Result<Option<Planned>, ApiError> {
        let ObjectRef { key, .. } = action.target();
        let stored = self.get(&resource.group_resource, &key.namespace, &key.name);
        let Some(stored) = stored.filter(|stored| stored.uid() == action.uid()) else {
            return Ok(None);
        };
        let mut object = stored.value();
        match action {
            Action::Delete { propagation, .. } => {
                let options = DeleteOptions {
                    propagation: Some(*propagation),
                    ..DeleteOptions::default()
                };
                let delete = Delete {
                    namespace: &key.namespace,
                    name: &key.name,
                    options,
                    now,
                };
                return self.plan_delete(resource, &delete).map(Some);
            }
            Action::DropOwners { owners, .. } => {
                edit_owners(&mut object, |references| {
                    references.retain(|owner| {
                        !owner
                            .get("uid")
                            .and_then(Value::as_str)
                            .is_some_and(|uid| owners.iter().any(|gone| gone == uid))
                    });
                });
            }
            Action::Unblock { .. } => edit_owners(&mut object, |references| {
                for owner in references {
                    owner["blockOwnerDeletion"] = json!(false);
                }
            }),
            Action::DropFinalizer { finalizer, .. } => {
                let kept: Vec<String> = meta::finalizers(&object)
                    .into_iter()
                    .filter(|held| held != finalizer)
                    .map(str::to_owned)
                    .collect();
                meta::set_finalizers(&mut object, &kept);
            }
        }
        let update = Update {
            namespace: &key.namespace,
            name: &key.name,
            part: Part::Whole(""),
            object,
            author: Author::server(now),
            admit: &mut admit_all,
        };
        self.plan_update(resource, update).map(Some)
    }
}

fn edit_owners(object: &mut Value, edit: impl FnOnce(&mut Vec<Value>)) {
    let Some(metadata) = meta::of_mut(object) else {
        return;
    };
    let Some(references) = metadata
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    edit(references);
    if references.is_empty() {
        metadata.remove("ownerReferences");
    }
}
