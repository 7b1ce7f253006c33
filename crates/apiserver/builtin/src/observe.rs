//! Builds the view of one object from what the watches have reported.

use std::sync::Arc;

use kthena_cluster::ObjectKey;

use crate::deployment::DeploymentView;
use crate::endpoint_slice::ServiceView;
use crate::pods;
use crate::replica_set::{ReplicaSetView, owns};
use crate::world::{World, service_of};

pub(crate) fn deployment(world: &World, key: &ObjectKey) -> Option<DeploymentView> {
    let deployment = Arc::clone(world.deployments.get(key)?);
    let uid = deployment.metadata.uid.as_ref();
    let sets = world.sets.iter().filter(|(set_key, set)| {
        set_key.namespace == key.namespace
            && pods::controller(&set.metadata).is_some_and(|owner| Some(&owner.uid) == uid)
    });
    let sets: Vec<_> = sets.map(|(_, set)| Arc::clone(set)).collect();
    let mut pods = world.pods_in(&key.namespace);
    pods.retain(|pod| sets.iter().any(|set| owns(set, pod)));
    Some(DeploymentView {
        deployment,
        sets,
        pods,
    })
}

pub(crate) fn replica_set(world: &World, key: &ObjectKey) -> Option<ReplicaSetView> {
    let set = Arc::clone(world.sets.get(key)?);
    Some(ReplicaSetView {
        set,
        pods: world.pods_in(&key.namespace),
    })
}

pub(crate) fn service(world: &World, key: &ObjectKey) -> Option<ServiceView> {
    let service = Arc::clone(world.services.get(key)?);
    let slices = world
        .slices
        .iter()
        .filter(|(_, slice)| service_of(slice).as_ref() == Some(key));
    let slices = slices.map(|(_, slice)| Arc::clone(slice)).collect();
    Some(ServiceView {
        service,
        pods: world.pods_in(&key.namespace),
        slices,
    })
}
