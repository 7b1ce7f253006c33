//! Finds out whether another controller serves a set.
//!
//! The controller of the `LeaderWorkerSet` project makes a `StatefulSet` of the set's name, owned by the set. Where
//! that cannot be asked for, because the permissions are those of an older installation, the revisions that it stores
//! tell as much.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use kthena_api::labels;
use kthena_cluster::{ObjectKey, Target, WriteError, write};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

/// What another controller made for the set of this name and uid; `None` if there is nothing.
pub(super) async fn find(
    client: &Client,
    key: &ObjectKey,
    uid: &str,
) -> Result<Option<String>, WriteError> {
    const FORBIDDEN: u16 = 403;
    match write::stamp(client, &Target::of::<StatefulSet>(), key).await {
        Ok(found) => {
            let owned =
                found.filter(|one| one.owner_references.iter().any(|owner| owner.uid == uid));
            Ok(owned.map(|_| format!("StatefulSet {}", key.name)))
        }
        Err(WriteError::Refused {
            code: FORBIDDEN, ..
        }) => find_revision(client, key, uid).await,
        Err(error) => Err(error),
    }
}

async fn find_revision(
    client: &Client,
    key: &ObjectKey,
    uid: &str,
) -> Result<Option<String>, WriteError> {
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), &key.namespace);
    let selected = ListParams::default().labels(&format!("{}={}", labels::LWS_NAME, key.name));
    let revisions = api.list(&selected).await?;
    let owned = revisions
        .iter()
        .find(|one| one.owner_references().iter().any(|owner| owner.uid == uid));
    Ok(owned.map(|one| format!("what made ControllerRevision {}", one.name_any())))
}
