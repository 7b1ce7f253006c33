//! Everything the planner may look at.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kthena_api::model_serving::ModelServing;

use crate::object::LeaderWorkerSet;

/// One `LeaderWorkerSet` and what has its name, as last seen.
#[derive(Debug, Clone)]
pub struct SetView {
    /// The object itself.
    pub set: Arc<LeaderWorkerSet>,
    /// The `ModelServing` of its name, whoever owns it.
    pub serving: Option<Arc<ModelServing>>,
    /// Another controller serves the set: what it made.
    pub rival: Option<String>,
    /// Generation of the `ModelServing` that the last patch for this generation of the set left as it was: the server
    /// drops what is missing, so that the same patch again would change nothing either.
    pub unmoved: Option<i64>,
}

/// Whose the `ModelServing` of the name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is none.
    Absent,
    /// It belongs to this set.
    Ours,
    /// It belongs to this set and is being deleted.
    OursLeaving,
    /// It belongs to a set of the same name that is gone.
    LeftBehind,
    /// It belongs to somebody else, or to nobody.
    Foreign,
}

impl SetView {
    pub(crate) fn name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &str {
        self.set.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn standing(&self) -> Standing {
        let Some(serving) = &self.serving else {
            return Standing::Absent;
        };
        let is_leaving = serving.metadata.deletion_timestamp.is_some();
        let mut owners = serving.metadata.owner_references.iter().flatten();
        if owners.clone().any(|owner| owner.uid == self.uid()) {
            return if is_leaving {
                Standing::OursLeaving
            } else {
                Standing::Ours
            };
        }
        if owners.any(|owner| self.was_namesake(owner)) {
            return Standing::LeftBehind;
        }
        Standing::Foreign
    }

    /// The owner is a set of our name with another uid: it must be gone.
    fn was_namesake(&self, owner: &OwnerReference) -> bool {
        use k8s_openapi::Resource;
        owner.kind == LeaderWorkerSet::KIND && owner.name == self.name()
    }
}
