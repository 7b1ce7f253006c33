//! Writes what plans ask for. Every write may be repeated.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kthena_cluster::write::{self, Propagation};
use kthena_cluster::{ObjectKey, Target, WriteError};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Shell;
use crate::deployment::{DeploymentAction, DeploymentPlan, REVISION};
use crate::endpoint_slice::SliceAction;
use crate::replica_set::{ReplicaSetPlan, owner_reference};

impl Shell {
    pub(super) async fn carry_out_deployment(
        &self,
        key: &ObjectKey,
        plan: &DeploymentPlan,
    ) -> Result<(), WriteError> {
        for action in &plan.actions {
            self.carry_out_step(key, action).await?;
        }
        if let Some(status) = &plan.status {
            let patch = json!({"status": status});
            self.patch(&Target::of::<Deployment>(), key, Some("status"), &patch)
                .await?;
        }
        Ok(())
    }

    async fn carry_out_step(
        &self,
        key: &ObjectKey,
        action: &DeploymentAction,
    ) -> Result<(), WriteError> {
        let sets = Target::of::<ReplicaSet>();
        let beside = |name: &String| ObjectKey::new(&key.namespace, name);
        let annotated =
            |revision: &i64| json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
        match action {
            DeploymentAction::Create(set) => {
                write::create(&self.client, &sets, Some(&key.namespace), set)
                    .await
                    .map(drop)
            }
            DeploymentAction::Scale { set, replicas } => {
                self.patch(
                    &sets,
                    &beside(set),
                    None,
                    &json!({"spec": {"replicas": replicas}}),
                )
                .await
            }
            DeploymentAction::MarkSet { set, revision } => {
                self.patch(&sets, &beside(set), None, &annotated(revision))
                    .await
            }
            DeploymentAction::MarkDeployment { revision } => {
                self.patch(&Target::of::<Deployment>(), key, None, &annotated(revision))
                    .await
            }
            DeploymentAction::SetMinReady { set, seconds } => {
                self.patch(
                    &sets,
                    &beside(set),
                    None,
                    &json!({"spec": {"minReadySeconds": seconds}}),
                )
                .await
            }
            DeploymentAction::Delete { set, uid } => self.delete(&sets, &beside(set), uid).await,
        }
    }

    pub(super) async fn carry_out_set(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        plan: &ReplicaSetPlan,
    ) -> Result<(), WriteError> {
        let pods = Target::of::<Pod>();
        let beside = |name: &String| ObjectKey::new(&key.namespace, name);
        // The uid makes sure that it is still the pod that was looked at.
        let owners = |uid: &String, owners: Value| json!({"metadata": {"uid": uid, "ownerReferences": owners}});
        for (name, uid) in &plan.adopt {
            let patch = owners(uid, json!([owner_reference(set)]));
            self.patch(&pods, &beside(name), None, &patch).await?;
        }
        for (name, uid) in &plan.release {
            self.patch(&pods, &beside(name), None, &owners(uid, Value::Null))
                .await?;
        }
        for pod in &plan.create {
            match write::create(&self.client, &pods, Some(&key.namespace), pod).await {
                Ok(made) => self.world().expect(key, &made.name, Instant::now()),
                // A view that lagged behind; the watch will show the pod.
                Err(WriteError::AlreadyExists) => {}
                Err(error) => return Err(error),
            }
        }
        for (name, uid) in &plan.delete {
            self.delete(&pods, &beside(name), uid).await?;
        }
        if let Some(status) = &plan.status {
            let patch = json!({"status": status});
            self.patch(&Target::of::<ReplicaSet>(), key, Some("status"), &patch)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn carry_out_slices(
        &self,
        key: &ObjectKey,
        actions: &[SliceAction],
    ) -> Result<(), WriteError> {
        let slices = Target::of::<EndpointSlice>();
        for action in actions {
            match action {
                SliceAction::Create(slice) => {
                    write::create(&self.client, &slices, Some(&key.namespace), slice).await?;
                }
                SliceAction::Replace(slice) => {
                    let name = slice.metadata.name.clone().unwrap_or_default();
                    let patch = json!({
                        "metadata": {"labels": slice.metadata.labels},
                        "endpoints": slice.endpoints,
                        "ports": slice.ports,
                    });
                    self.patch(&slices, &ObjectKey::new(&key.namespace, name), None, &patch)
                        .await?;
                }
                SliceAction::Delete(name, uid) => {
                    self.delete(&slices, &ObjectKey::new(&key.namespace, name), uid)
                        .await?;
                }
            }
        }
        Ok(())
    }

    async fn patch(
        &self,
        target: &Target,
        key: &ObjectKey,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<(), WriteError> {
        write::merge_patch(&self.client, target, key, subresource, patch)
            .await
            .map(drop)
    }

    /// Deletes an object; one that is gone already is as wanted.
    async fn delete(&self, target: &Target, key: &ObjectKey, uid: &str) -> Result<(), WriteError> {
        match write::delete(&self.client, target, key, uid, Propagation::Background).await {
            Err(WriteError::NotFound) => Ok(()),
            outcome => outcome,
        }
    }
}
