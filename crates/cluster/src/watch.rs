//! Follows the objects of one kind for ever.
//!
//! The stream lists, then watches from the version of the list. It reconnects after every failure, lists again
//! when its version is too old, and reports as deleted what vanished while it was not looking. Each object is
//! decoded on its own.
//!
//! # Invariants
//!
//! - The stream never ends; drop it to stop watching.
//! - An object whose uid changed is reported as deleted, then as applied.
//! - After `Synced` the reported objects are a state that the server had at one moment.
//!
//! # Where to go next
//!
//! `decode` reads lists and watch lines, `known` turns what was read into changes, this module talks.

mod backoff;
mod decode;
mod known;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::{Stream, stream};
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use serde::de::DeserializeOwned;

pub use known::Named;

use crate::target::{ObjectKey, Target};
use session::Session;

/// One thing that happened to the objects of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<K> {
    /// The object was created or changed.
    Applied(Arc<K>),
    /// The object is gone; this is the last form that was seen of it.
    Deleted(Arc<K>),
    /// All objects that exist have been reported. Repeated after every new list.
    Synced,
    /// The server does not serve this kind. Everything known was reported as deleted, `Synced` follows.
    Absent,
    /// The object exists but cannot be read as `K`. It is reported again when it can.
    Undecodable {
        /// Which object.
        key: ObjectKey,
        /// What is wrong with it, for a person.
        fault: String,
    },
}

/// Which objects of a kind are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// A label selector, or all.
    pub labels: Option<String>,
    /// A field selector, or all.
    pub fields: Option<String>,
}

impl Scope {
    /// Objects of all namespaces that a label selector matches.
    pub fn labelled(selector: impl Into<String>) -> Self {
        Self {
            labels: Some(selector.into()),
            ..Self::default()
        }
    }
}

pub(crate) type Decode<K> = Box<dyn Fn(&str) -> Result<K, serde_json::Error> + Send + Sync>;

/// Watches a typed kind. `managedFields` are dropped.
pub fn watch<K>(client: Client, scope: &Scope) -> impl Stream<Item = Change<K>> + Send + use<K>
where
    K: k8s_openapi::Resource
        + Metadata<Ty = ObjectMeta>
        + DeserializeOwned
        + Named
        + Send
        + Sync
        + 'static,
{
    let decode: Decode<K> = Box::new(|raw| {
        let mut object: K = serde_json::from_str(raw)?;
        object.metadata_mut().managed_fields = None;
        Ok(object)
    });
    follow(Session::new(client, Target::of::<K>(), scope, decode))
}

/// Watches a kind but decodes only what `K` declares of each object; the rest is skipped while reading.
pub fn watch_partial<K>(
    client: Client,
    target: Target,
    scope: &Scope,
) -> impl Stream<Item = Change<K>> + Send + use<K>
where
    K: DeserializeOwned + Named + Send + Sync + 'static,
{
    let decode: Decode<K> = Box::new(|raw| serde_json::from_str(raw));
    follow(Session::new(client, target, scope, decode))
}

/// Watches a kind that is known only at run time. `managedFields` are dropped.
pub fn watch_dynamic(
    client: Client,
    resource: &ApiResource,
    scope: &Scope,
) -> impl Stream<Item = Change<DynamicObject>> + Send + use<> {
    let types = TypeMeta {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
    };
    let decode: Decode<DynamicObject> = Box::new(move |raw| {
        let mut object: DynamicObject = serde_json::from_str(raw)?;
        object.metadata.managed_fields = None;
        // Objects inside a list carry no type line of their own.
        object.types.get_or_insert_with(|| types.clone());
        Ok(object)
    });
    follow(Session::new(client, Target::from(resource), scope, decode))
}

fn follow<K: Named + Send + Sync + 'static>(
    session: Session<K>,
) -> impl Stream<Item = Change<K>> + Send {
    stream::unfold(session, |mut session| async move {
        let change = session.next().await;
        Some((change, session))
    })
}
