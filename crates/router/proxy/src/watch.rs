//! Feeds the view from the API server and publishes what it makes of it.

use std::sync::Arc;

use futures::FutureExt;
use futures::stream::{BoxStream, StreamExt, select};
use k8s_openapi::api::core::v1::Pod;
use kthena_api::model_route::ModelRoute;
use kthena_api::model_server::ModelServer;
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

/// Follows routes, servers and pods. Never ends.
pub(crate) async fn follow(client: Client, shared: Arc<Shared>) {
    let mut events = events(client);
    let mut view = View::default();
    let mut synced = Synced::default();
    while let Some(first) = events.next().await {
        apply(&mut view, &mut synced, first);
        // A burst of events becomes one snapshot.
        for _ in 0..BATCH {
            let Some(Some(event)) = events.next().now_or_never() else {
                break;
            };
            apply(&mut view, &mut synced, event);
        }
        shared.publish(view.snapshot());
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

fn apply(view: &mut View, synced: &mut Synced, event: Event) {
    match event {
        Event::Route(Change::Applied(route)) => {
            warn_of_global_limit(&route);
            view.apply_route(&route);
        }
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

/// A limit that routers are to share still holds, in each of them for itself.
fn warn_of_global_limit(route: &ModelRoute) {
    let limit = route.spec.rate_limit.as_ref();
    if limit
        .and_then(|limit| limit.global.as_ref()?.redis.as_ref())
        .is_some()
    {
        tracing::warn!(route = %route.key(), "rateLimit.global: this release limits in each router by itself");
    }
}

/// The last readable form of the object stays in use.
fn refuse(kind: &str, key: &ObjectKey, fault: &str) {
    tracing::warn!(kind, %key, fault, "an object cannot be read");
}
