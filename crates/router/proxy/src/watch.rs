//! Feeds the view from the API server and publishes what it makes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::stream::{BoxStream, StreamExt, select};
use k8s_openapi::api::core::v1::Pod;
use kthena_api::model_route::ModelRoute;
use kthena_api::model_server::{ModelServer, Protocol};
use kthena_cluster::watch::Named;
use kthena_cluster::{Change, ObjectKey, Scope, Target, watch, watch_partial};
use kthena_router_view::{PodFacts, PodObject, View};
use kube::Client;
use serde::Deserialize;

use crate::shared::Shared;

/// Events taken in before a snapshot is made of them.
const BATCH: usize = 1024;

/// The parts of a pod that are decoded.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct SeenPod(PodObject);

impl Named for SeenPod {
    fn key(&self) -> ObjectKey {
        ObjectKey::new(
            self.0.metadata.namespace.clone(),
            self.0.metadata.name.clone(),
        )
    }
}

enum Event {
    Route(Change<ModelRoute>),
    Server(Change<ModelServer>),
    Pod(Change<SeenPod>),
}

/// Which kinds have been reported completely.
#[derive(Debug, Default)]
struct Synced {
    routes: bool,
    servers: bool,
    pods: bool,
}

/// Model servers whose engines want TLS, which they are not spoken to in.
#[derive(Debug, Default)]
struct Unencrypted(BTreeSet<ObjectKey>);

impl Unencrypted {
    /// Looks at a server's present form. `true` = somebody should be told, which is so once per server.
    fn note(&mut self, server: &ModelServer) -> bool {
        let key = server.key();
        if server.spec.workload_port.protocol == Some(Protocol::Https) {
            return self.0.insert(key);
        }
        self.0.remove(&key);
        false
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }
}

/// Follows routes, servers and pods. Never ends.
pub(crate) async fn follow(client: Client, shared: Arc<Shared>) {
    let mut events = events(client);
    let mut view = View::default();
    let mut synced = Synced::default();
    let mut unencrypted = Unencrypted::default();
    while let Some(first) = events.next().await {
        warn_of_tls(&mut unencrypted, &first);
        apply(&mut view, &mut synced, first);
        // A burst of events becomes one snapshot.
        for _ in 0..BATCH {
            let Some(Some(event)) = events.next().now_or_never() else {
                break;
            };
            warn_of_tls(&mut unencrypted, &event);
            apply(&mut view, &mut synced, event);
        }
        let snapshot = view.snapshot();
        if !Arc::ptr_eq(&snapshot.routes, &shared.snapshot.load().routes) {
            let known = |model: &str| snapshot.routes.known(model).is_some();
            shared.metrics.retain_models(known);
            shared.plugins.retain_models(known);
        }
        shared.publish(snapshot);
        if synced.routes && synced.servers && synced.pods && !shared.is_synced() {
            tracing::info!("all routes, servers and pods are known; serving");
            shared.set_synced();
        }
    }
}

fn events(client: Client) -> BoxStream<'static, Event> {
    let all = Scope::default();
    let routes = watch::<ModelRoute>(client.clone(), &all).map(Event::Route);
    let servers = watch::<ModelServer>(client.clone(), &all).map(Event::Server);
    let pods = watch_partial::<SeenPod>(client, Target::of::<Pod>(), &all).map(Event::Pod);
    select(routes, select(servers, pods)).boxed()
}

fn warn_of_tls(unencrypted: &mut Unencrypted, event: &Event) {
    match event {
        Event::Server(Change::Applied(server)) if unencrypted.note(server) => {
            tracing::warn!(
                server = %server.key(),
                "workloadPort.protocol https: this release speaks plain HTTP to engines"
            );
        }
        Event::Server(Change::Deleted(server)) => unencrypted.forget(&server.key()),
        _ => {}
    }
}

fn apply(view: &mut View, synced: &mut Synced, event: Event) {
    match event {
        Event::Route(Change::Applied(route)) => view.apply_route(&route),
        Event::Route(Change::Deleted(route)) => {
            let key = route.key();
            view.delete_route(&key.namespace, &key.name);
        }
        Event::Route(Change::Synced) => synced.routes = true,
        Event::Server(Change::Applied(server)) => view.apply_server(server),
        Event::Server(Change::Deleted(server)) => {
            let key = server.key();
            view.delete_server(&key.namespace, &key.name);
        }
        Event::Server(Change::Synced) => synced.servers = true,
        Event::Pod(Change::Applied(pod)) => view.apply_pod(PodFacts::from(&pod.0)),
        Event::Pod(Change::Deleted(pod)) => {
            let meta = &pod.0.metadata;
            view.delete_pod(&meta.namespace, &meta.name, &meta.uid);
        }
        Event::Pod(Change::Synced) => synced.pods = true,
        Event::Route(Change::Undecodable { key, fault }) => refuse("ModelRoute", &key, &fault),
        Event::Server(Change::Undecodable { key, fault }) => refuse("ModelServer", &key, &fault),
        Event::Pod(Change::Undecodable { key, fault }) => refuse("Pod", &key, &fault),
        Event::Route(Change::Absent) => tracing::warn!("the API server does not know ModelRoute"),
        Event::Server(Change::Absent) => tracing::warn!("the API server does not know ModelServer"),
        Event::Pod(Change::Absent) => tracing::warn!("the API server does not know Pod"),
    }
}

/// The last readable form of the object stays in use.
fn refuse(kind: &str, key: &ObjectKey, fault: &str) {
    tracing::warn!(kind, %key, fault, "an object cannot be read");
}

#[cfg(test)]
mod tests;
