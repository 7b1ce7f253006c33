//! The headless service of each role instance that has workers: it gives the entry pod its name.

use std::collections::HashSet;

use kthena_api::labels;
use serde_json::{Value, json};

use crate::names;
use crate::plan::{Action, Draft};
use crate::pods::owner_reference;
use crate::revision::PlannedRole;
use crate::state::Groups;
use crate::view::ServingView;

/// Creates what is missing and deletes what belongs to no instance.
///
/// `wanted` instances are those that stay and those that this pass creates.
pub(crate) fn ensure(
    view: &ServingView,
    groups: &Groups<'_>,
    wanted: &[WantedService],
    draft: &mut Draft,
) {
    for service in wanted {
        let name = names::pod(&service.group, &service.role_id, 0);
        match view.services.iter().find(|other| other.name == name) {
            None => draft.create_service(name, render(view, service)),
            Some(other) if other.owner != view.uid() => draft.name_taken("Service", &name),
            Some(_) => {}
        }
    }
    let kept: HashSet<_> = wanted
        .iter()
        .map(|service| names::pod(&service.group, &service.role_id, 0))
        .collect();
    for service in view
        .owned_services()
        .filter(|service| !service.is_terminating)
    {
        let is_leaving = groups
            .values()
            .flat_map(|group| group.instances().map(move |i| (group, i)))
            .any(|(group, instance)| {
                group.name == service.group
                    && instance.id == service.role_id
                    && instance.is_leaving()
            });
        // Those of instances that leave are deleted with them.
        if !is_leaving && !kept.contains(&service.name) {
            draft.act(Action::DeleteService {
                name: service.name.clone(),
                uid: service.uid.clone(),
            });
        }
    }
}

/// A role instance that needs a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedService {
    pub(crate) group: String,
    pub(crate) role: String,
    pub(crate) role_id: String,
}

/// Whether instances of the role have a service.
pub(crate) fn is_wanted(role: &PlannedRole<'_>) -> bool {
    role.role.worker_template.is_some()
}

fn render(view: &ServingView, service: &WantedService) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names::pod(&service.group, &service.role_id, 0),
            "namespace": view.namespace(),
            "labels": {
                labels::MODEL_SERVING_NAME: view.name(),
                labels::GROUP_NAME: service.group,
                labels::ROLE: service.role,
                labels::ROLE_ID: service.role_id,
            },
            "ownerReferences": [owner_reference(view)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": {
                labels::GROUP_NAME: service.group,
                labels::ROLE: service.role,
                labels::ROLE_ID: service.role_id,
                labels::ENTRY: "true",
            },
        },
    })
}

#[cfg(test)]
mod tests;
