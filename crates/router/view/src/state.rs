//! Takes events in, gives snapshots out.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kthena_api::model_route::ModelRoute;
use kthena_api::model_server::ModelServer;
use kthena_router_routing::{Route, RouteTable};
use kthena_router_scheduler::{Endpoint, PodIdentity};

use crate::pods::PodFacts;
use crate::servers::{ReadyPod, ServerView, selects};
use crate::snapshot::Snapshot;

/// Namespace, then name.
type Key = (Arc<str>, Arc<str>);

/// What exists, as far as events told.
#[derive(Debug, Default)]
pub struct View {
    routes: BTreeMap<Arc<str>, Arc<Route>>,
    servers: BTreeMap<Key, Arc<ModelServer>>,
    pods: BTreeMap<Key, ReadyPod>,
    stale_servers: BTreeSet<Key>,
    routes_stale: bool,
    published: Arc<Snapshot>,
}

impl View {
    /// A route was created or changed. All its names change at once, with the next snapshot.
    pub fn apply_route(&mut self, route: &ModelRoute) {
        let route = Arc::new(Route::compile(route));
        self.routes.insert(Arc::clone(route.key()), route);
        self.routes_stale = true;
    }

    /// A route is gone.
    pub fn delete_route(&mut self, namespace: &str, name: &str) {
        self.routes_stale |= self
            .routes
            .remove(format!("{namespace}/{name}").as_str())
            .is_some();
    }

    /// A model server was created or changed.
    pub fn apply_server(&mut self, server: Arc<ModelServer>) {
        let meta = &server.metadata;
        let key = key_of(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        );
        self.stale_servers.insert(key.clone());
        self.servers.insert(key, server);
    }

    /// A model server is gone.
    pub fn delete_server(&mut self, namespace: &str, name: &str) {
        let key = key_of(namespace, name);
        if self.servers.remove(&key).is_some() {
            self.stale_servers.insert(key);
        }
    }

    /// A pod was created or changed. One that is not ready is as good as gone.
    pub fn apply_pod(&mut self, pod: PodFacts) {
        if !pod.ready {
            self.remove_pod(&pod.namespace, &pod.name, None);
            return;
        }
        let key = key_of(&pod.namespace, &pod.name);
        let known = self.pods.get(&key);
        if let Some(known) = known.filter(|known| is_same(known, &pod)) {
            // A container may have started anew inside it.
            known.endpoint.set_started_unix(pod.started_unix);
            return;
        }
        if let Some(known) = known {
            let labels = known.labels.clone();
            self.mark_servers(&key.0, &labels);
        }
        self.mark_servers(&key.0, &pod.labels);
        match self.pods.entry(key) {
            Entry::Occupied(entry) if *entry.get().endpoint.pod().uid == *pod.uid => {
                let known = entry.into_mut();
                known.endpoint.set_started_unix(pod.started_unix);
                known.labels = pod.labels;
                known.address = pod.address;
            }
            Entry::Occupied(entry) => {
                let known = entry.into_mut();
                known.endpoint.retire();
                *known = admitted(pod);
            }
            Entry::Vacant(entry) => {
                entry.insert(admitted(pod));
            }
        }
    }

    /// A pod is gone. A deletion that names the UID of an earlier pod leaves the one of today alone.
    pub fn delete_pod(&mut self, namespace: &str, name: &str, uid: &str) {
        self.remove_pod(namespace, name, Some(uid));
    }

    /// What exists now. Shares with the previous snapshot what did not change.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if self.routes_stale || !self.stale_servers.is_empty() {
            self.published = Arc::new(self.rebuild());
        }
        Arc::clone(&self.published)
    }

    fn rebuild(&mut self) -> Snapshot {
        let mut next = (*self.published).clone();
        if std::mem::take(&mut self.routes_stale) {
            next.routes = Arc::new(RouteTable::build(self.routes.values()));
        }
        for key in std::mem::take(&mut self.stale_servers) {
            let name: Arc<str> = format!("{}/{}", key.0, key.1).into();
            let Some(server) = self.servers.get(&key) else {
                next.servers.remove(&name);
                continue;
            };
            let from = (Arc::clone(&key.0), Arc::from(""));
            let neighbours = self
                .pods
                .range(from..)
                .take_while(|(pod, _)| pod.0 == key.0)
                .map(|(_, pod)| pod);
            let known = next.servers.get(&name);
            let budget = known.map(|known| Arc::clone(&known.budget));
            let view = ServerView::build(
                Arc::clone(&name),
                server,
                neighbours,
                budget.unwrap_or_default(),
            );
            next.servers.insert(name, Arc::new(view));
        }
        next
    }

    fn remove_pod(&mut self, namespace: &str, name: &str, uid: Option<&str>) {
        let key = key_of(namespace, name);
        let Entry::Occupied(entry) = self.pods.entry(key.clone()) else {
            return;
        };
        if uid.is_some_and(|uid| !uid.is_empty() && uid != &*entry.get().endpoint.pod().uid) {
            return;
        }
        let gone = entry.remove();
        gone.endpoint.retire();
        self.mark_servers(&key.0, &gone.labels);
    }

    /// Notes every server of the namespace that selects these labels.
    fn mark_servers(&mut self, namespace: &Arc<str>, labels: &BTreeMap<String, String>) {
        let from = (Arc::clone(namespace), Arc::from(""));
        let selecting = self
            .servers
            .range(from..)
            .take_while(|(key, _)| key.0 == *namespace)
            .filter(|(_, server)| selects(server, labels))
            .map(|(key, _)| key.clone());
        self.stale_servers.extend(selecting);
    }
}

fn key_of(namespace: &str, name: &str) -> Key {
    (Arc::from(namespace), Arc::from(name))
}

fn is_same(known: &ReadyPod, pod: &PodFacts) -> bool {
    *known.endpoint.pod().uid == *pod.uid
        && known.address == pod.address
        && known.labels == pod.labels
}

fn admitted(pod: PodFacts) -> ReadyPod {
    let identity = PodIdentity {
        namespace: pod.namespace.into(),
        name: pod.name.into(),
        uid: pod.uid.into(),
    };
    let endpoint = Endpoint::new(identity);
    endpoint.set_started_unix(pod.started_unix);
    ReadyPod {
        labels: pod.labels,
        address: pod.address,
        endpoint: Arc::new(endpoint),
    }
}

#[cfg(test)]
mod tests;
