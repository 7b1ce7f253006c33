//! Follows the objects of a kind that a cluster may or may not have.
//!
//! The kind may appear and go at any time: its definition is watched, and only while there is one its objects are.

use std::pin::Pin;

use futures::stream::{Stream, StreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kthena_cluster::watch::Named;
use kthena_cluster::{Change, Scope, Target, watch_partial};
use kube::Client;
use serde::de::DeserializeOwned;

/// Changes of something that is watched.
pub(crate) type Changes<K> = Pin<Box<dyn Stream<Item = Change<K>> + Send>>;

/// Watches the definition of this name; `K` is what matters of it.
pub(crate) fn definition<K>(client: Client, name: &str) -> Changes<K>
where
    K: DeserializeOwned + Named + Send + Sync + 'static,
{
    let only = Scope {
        fields: Some(format!("metadata.name={name}")),
        ..Scope::default()
    };
    let target = Target::of::<CustomResourceDefinition>();
    Box::pin(watch_partial(client, target, &only))
}

/// The next change; without a watch there is none, ever.
pub(crate) async fn next<K>(changes: &mut Option<Changes<K>>) -> Option<Change<K>> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}
