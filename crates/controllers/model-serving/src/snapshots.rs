//! Keeps the `ControllerRevision`s that pods still need.
//!
//! The data of a ControllerRevision cannot be changed, so the role counts that belong to it while it is the
//! spec's revision are kept in an annotation. Where more are kept than are needed, for a rollback, their numbers tell
//! which was wanted last.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use kthena_api::labels;
use serde_json::{Value, json};

use crate::names;
use crate::plan::{Action, Draft};
use crate::pods::owner_reference;
use crate::revision::Revisions;
use crate::view::ServingView;

/// Stores the spec's revision if pods use it, keeps its counts current, and drops what nobody refers to.
///
/// `kept` are the revisions that the status and records refer to besides the pods.
pub(crate) fn ensure(
    view: &ServingView,
    revisions: &Revisions<'_>,
    kept: &BTreeSet<String>,
    draft: &mut Draft,
) {
    let is_used = draft.creates_pods()
        || !revisions.foreign_hashes().is_empty()
        || view
            .owned_pods()
            .any(|pod| pod.revision == revisions.update);
    let name = names::snapshot(view.name(), &revisions.update);
    match revisions.update_snapshot {
        None if is_used => create(view, revisions, &name, draft),
        None => {}
        Some(_) => refresh(view, revisions, draft),
    }
    let needed = |revision: &str| {
        revision == revisions.update
            || kept.contains(revision)
            || view.owned_pods().any(|pod| pod.revision == revision)
    };
    let mut unneeded: Vec<_> = view
        .owned_snapshots()
        .filter(|snapshot| {
            !snapshot.is_terminating && snapshot.name != name && !needed(&snapshot.revision)
        })
        .collect();
    unneeded.sort_by_key(|one| (one.content.is_none(), Reverse(one.number), one.name.clone()));
    for snapshot in unneeded.into_iter().skip(history(view)) {
        draft.act(Action::DeleteSnapshot {
            name: snapshot.name.clone(),
            uid: snapshot.uid.clone(),
        });
    }
}

/// How many revisions are kept that nobody refers to.
fn history(view: &ServingView) -> usize {
    let limit = view.serving.spec.revision_history_limit;
    limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(0)
}

/// The number by which the spec's revision is later than all others.
fn number(view: &ServingView, revisions: &Revisions<'_>) -> i64 {
    if history(view) == 0 {
        return 1;
    }
    let others = view
        .owned_snapshots()
        .filter(|other| other.revision != revisions.update);
    others.map(|other| other.number).max().unwrap_or(0) + 1
}

fn create(view: &ServingView, revisions: &Revisions<'_>, name: &str, draft: &mut Draft) {
    match view.snapshots.iter().find(|snapshot| snapshot.name == name) {
        None => draft.create_snapshot(name.to_owned(), render(view, revisions, name)),
        Some(other) if other.owner != view.uid() => draft.name_taken("ControllerRevision", name),
        // Ours but unreadable: its data cannot be mended, so it makes way for one that says the same as the spec.
        Some(unreadable) => {
            draft.warn(
                "SnapshotUnreadable",
                format!("ControllerRevision {name} cannot be read and is written anew"),
            );
            if !unreadable.is_terminating {
                draft.act(Action::DeleteSnapshot {
                    name: name.to_owned(),
                    uid: unreadable.uid.clone(),
                });
            }
            draft.hold_pods();
        }
    }
}

fn refresh(view: &ServingView, revisions: &Revisions<'_>, draft: &mut Draft) {
    let Some(snapshot) = revisions
        .update_snapshot
        .filter(|snapshot| !snapshot.is_terminating)
    else {
        return;
    };
    let wanted: BTreeMap<_, _> = revisions
        .spec()
        .roles
        .iter()
        .map(|role| (role.role.name.clone(), role.replicas))
        .collect();
    let mut patch = json!({});
    if snapshot.recorded_replicas() != wanted {
        let counts = serde_json::to_string(&wanted).unwrap_or_default();
        patch["metadata"]["annotations"] = json!({ labels::ROLE_REPLICAS: counts });
    }
    let number = number(view, revisions);
    if snapshot.number < number {
        patch["revision"] = json!(number);
    }
    if patch != json!({}) {
        patch["metadata"]["uid"] = json!(snapshot.uid);
        draft.act(Action::PatchSnapshot {
            name: snapshot.name.clone(),
            patch,
        });
    }
}

fn render(view: &ServingView, revisions: &Revisions<'_>, name: &str) -> Value {
    let mut snapshot = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": view.namespace(),
            "labels": {
                labels::MODEL_SERVING_NAME: view.name(),
                labels::REVISION: revisions.update,
            },
            "ownerReferences": [owner_reference(view)],
        },
        "revision": number(view, revisions),
        "data": { "data": view.serving.spec.template.roles },
    });
    let hashes = revisions.foreign_hashes();
    if !hashes.is_empty() {
        let hashes = serde_json::to_string(&hashes).unwrap_or_default();
        snapshot["metadata"]["annotations"] = json!({ labels::ROLE_HASHES: hashes });
    }
    snapshot
}
