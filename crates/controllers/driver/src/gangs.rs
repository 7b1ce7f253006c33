//! Follows Volcano's `PodGroup`s while the cluster has the kind.
//!
//! The kind may appear and go at any time. Its definition is watched, and only while there is one its objects are.
//! Until both are known nothing is planned with gangs; whoever may not read definitions goes without them.

use std::pin::Pin;

use futures::stream::{Stream, StreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kthena_cluster::{Change, Scope, Target, watch_partial};
use kube::Client;

use crate::apply::pod_groups;
use crate::controller::Shared;
use crate::observe::{ObservedDefinition, ObservedPodGroup};

const DEFINITION: &str = "podgroups.scheduling.volcano.sh";

type PodGroups = Pin<Box<dyn Stream<Item = Change<ObservedPodGroup>> + Send>>;

/// Both watches.
struct Gangs {
    shared: Shared,
    client: Client,
    scope: Scope,
    objects: Option<PodGroups>,
    /// The server does not serve the kind yet, although it is defined.
    is_absent: bool,
}

/// Takes in definitions and objects until the controller stops.
pub(crate) async fn follow(shared: Shared, client: Client, scope: Scope) {
    let only = Scope {
        fields: Some(format!("metadata.name={DEFINITION}")),
        ..Scope::default()
    };
    let target = Target::of::<CustomResourceDefinition>();
    let definitions = watch_partial::<ObservedDefinition>(client.clone(), target, &only);
    let mut definitions = std::pin::pin!(definitions);
    let mut gangs = Gangs {
        shared,
        client,
        scope,
        objects: None,
        is_absent: false,
    };
    loop {
        tokio::select! {
            () = gangs.shared.stop.cancelled() => return,
            change = definitions.next() => match change {
                Some(change) => gangs.defined(&change),
                None => return,
            },
            Some(change) = next(&mut gangs.objects) => gangs.observed(&change),
        }
    }
}

async fn next(objects: &mut Option<PodGroups>) -> Option<Change<ObservedPodGroup>> {
    match objects {
        Some(objects) => objects.next().await,
        None => std::future::pending().await,
    }
}

impl Gangs {
    fn defined(&mut self, change: &Change<ObservedDefinition>) {
        let support = match change {
            Change::Applied(definition) => Some(definition.support),
            Change::Deleted(_) | Change::Absent => None,
            Change::Synced => {
                if self.objects.is_none() {
                    self.shared.gangs_known.send_replace(true);
                }
                return;
            }
            Change::Undecodable { fault, .. } => {
                tracing::warn!(fault, "the definition of PodGroup cannot be read");
                return;
            }
        };
        match support {
            Some(_) if self.objects.is_none() => {
                let objects = watch_partial(self.client.clone(), pod_groups(), &self.scope);
                self.objects = Some(Box::pin(objects));
            }
            Some(_) => {}
            None => self.objects = None,
        }
        let is_news = self.shared.desk.caches().gangs.defined(support);
        self.tell(is_news);
    }

    fn observed(&mut self, change: &Change<ObservedPodGroup>) {
        let is_news = match change {
            Change::Absent => {
                self.is_absent = true;
                self.shared.desk.caches().gangs.synced(false)
            }
            // What is absent counts as synced too, but nothing can be created there yet.
            Change::Synced if std::mem::take(&mut self.is_absent) => false,
            Change::Synced => {
                self.shared.gangs_known.send_replace(true);
                self.shared.desk.caches().gangs.synced(true)
            }
            change => {
                let keys = self.shared.desk.caches().gangs.pod_groups.apply(change);
                for key in keys {
                    self.shared.queue.add_after(key, self.shared.gather);
                }
                false
            }
        };
        self.tell(is_news);
    }

    /// Everything must be looked at again.
    fn tell(&self, is_news: bool) {
        if is_news {
            let keys = self.shared.desk.caches().servings();
            for key in keys {
                self.shared.queue.add(key);
            }
        }
    }
}
