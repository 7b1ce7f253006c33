//! Follows Volcano's `PodGroup`s while the cluster has the kind.
//!
//! Until its definition and its objects are known nothing is planned with gangs; whoever may not read definitions goes
//! without them.

use futures::stream::StreamExt;
use kthena_cluster::{Change, Scope, watch_partial};
use kube::Client;

use crate::apply::pod_groups;
use crate::controller::Shared;
use crate::kinds::{self, Changes};
use crate::observe::{ObservedDefinition, ObservedPodGroup};

const DEFINITION: &str = "podgroups.scheduling.volcano.sh";

/// Both watches.
struct Gangs {
    shared: Shared,
    client: Client,
    scope: Scope,
    objects: Option<Changes<ObservedPodGroup>>,
    /// The server does not serve the kind yet, although it is defined.
    is_absent: bool,
}

/// Takes in definitions and objects until the controller stops.
pub(crate) async fn follow(shared: Shared, client: Client, scope: Scope) {
    let mut definitions = kinds::definition::<ObservedDefinition>(client.clone(), DEFINITION);
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
            Some(change) = kinds::next(&mut gangs.objects) => gangs.observed(&change),
        }
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
