//! An independent record of what a rollout does to the pods of many serving groups.
//!
//! It is fed with the pods of one watch in the order in which the server reports them, knows nothing of any
//! controller, and notes every moment at which a promise was broken: too few groups available, a group whose pods
//! are of two revisions, a pod that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};

const SERVING: &str = "modelserving.volcano.sh/name";
const GROUP: &str = "modelserving.volcano.sh/group-name";
const REVISION: &str = "modelserving.volcano.sh/revision";

/// What is promised of every serving.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Groups per serving.
    pub groups: usize,
    /// Pods per group.
    pub pods: usize,
    /// Groups of a serving that may be unavailable.
    pub unavailable: usize,
}

/// What is known of a pod that is not on its way out.
#[derive(Debug, Clone)]
struct Known {
    uid: String,
    serving: String,
    group: String,
    revision: String,
    is_ready: bool,
}

/// The pods as last reported, and what was wrong on the way.
#[derive(Debug)]
pub struct Ledger {
    promise: Promise,
    pods: BTreeMap<String, Known>,
    /// Pods by group.
    groups: BTreeMap<String, BTreeSet<String>>,
    /// Servings that have been complete once: from then on they must stay available.
    complete: BTreeSet<String>,
    /// Uids of all pods ever seen.
    seen: BTreeSet<String>,
    faults: Vec<String>,
    least: usize,
}

impl Ledger {
    /// An empty record.
    pub fn new(promise: Promise) -> Self {
        Self {
            promise,
            pods: BTreeMap::new(),
            groups: BTreeMap::new(),
            complete: BTreeSet::new(),
            seen: BTreeSet::new(),
            faults: Vec::new(),
            least: promise.groups,
        }
    }

    /// Notes what becomes of all pods of the namespace `default`, for as long as it is polled.
    pub async fn keep(ledger: &Mutex<Self>, client: Client) {
        let pods: Api<Pod> = Api::namespaced(client, "default");
        let mut events = pin!(watcher(pods, watcher::Config::default()).default_backoff());
        let mut list = Vec::new();
        while let Some(event) = events.next().await {
            // A watch that breaks is begun anew with a list.
            let Ok(event) = event else { continue };
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::Apply(pod) => ledger.applied(&pod),
                Event::Delete(pod) => ledger.deleted(&pod),
                Event::Init => list.clear(),
                Event::InitApply(pod) => list.push(pod),
                Event::InitDone => ledger.listed(&list),
            }
        }
    }

    /// These are all pods of a moment. What became of each since the last report is not known, so only the moment is
    /// judged.
    pub fn listed(&mut self, pods: &[Pod]) {
        self.pods.clear();
        self.groups.clear();
        for pod in pods {
            self.enter(pod);
        }
        for group in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.check_group(&group);
        }
        let servings: BTreeSet<_> = self.pods.values().map(|pod| pod.serving.clone()).collect();
        for serving in servings.union(&self.complete.clone()) {
            self.check_serving(serving);
        }
    }

    /// The pod was created or changed.
    pub fn applied(&mut self, pod: &Pod) {
        if let Some(known) = self.enter(pod) {
            self.check_group(&known.group);
            self.check_serving(&known.serving);
        }
    }

    /// The pod is gone.
    pub fn deleted(&mut self, pod: &Pod) {
        let serving = pod.labels().get(SERVING).cloned().unwrap_or_default();
        self.drop_pod(&pod.name_any(), &pod.uid().unwrap_or_default());
        self.check_serving(&serving);
    }

    /// What was wrong, in the order in which it was seen.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Fewest groups that a complete serving ever had available.
    pub fn least_available(&self) -> usize {
        self.least
    }

    /// Pods that were ever seen, by uid.
    pub fn pods_seen(&self) -> usize {
        self.seen.len()
    }

    /// Names of the pods that are not on their way out.
    pub fn pods(&self) -> impl Iterator<Item = &str> {
        self.pods.keys().map(String::as_str)
    }

    /// Pods that are ready and of another revision than `old` says for their serving.
    pub fn renewed(&self, old: &BTreeMap<String, String>) -> usize {
        let is_new = |pod: &&Known| old.get(&pod.serving) != Some(&pod.revision);
        self.pods
            .values()
            .filter(|pod| pod.is_ready)
            .filter(is_new)
            .count()
    }

    /// The revision of each serving, as one of its pods says.
    pub fn revisions(&self) -> BTreeMap<String, String> {
        let pods = self.pods.values();
        pods.map(|pod| (pod.serving.clone(), pod.revision.clone()))
            .collect()
    }

    /// Writes down what a pod is now; `None` = it is nobody's, which is no matter.
    fn enter(&mut self, pod: &Pod) -> Option<Known> {
        let label = |name: &str| pod.labels().get(name).cloned().unwrap_or_default();
        let known = Known {
            uid: pod.uid().unwrap_or_default(),
            serving: label(SERVING),
            group: label(GROUP),
            revision: label(REVISION),
            is_ready: is_ready(pod),
        };
        if known.serving.is_empty() {
            return None;
        }
        let name = pod.name_any();
        self.seen.insert(known.uid.clone());
        if pod.metadata.deletion_timestamp.is_some() {
            self.drop_pod(&name, &known.uid);
        } else {
            let members = self.groups.entry(known.group.clone()).or_default();
            members.insert(name.clone());
            self.pods.insert(name, known.clone());
        }
        Some(known)
    }

    fn drop_pod(&mut self, name: &str, uid: &str) {
        if self.pods.get(name).is_some_and(|known| known.uid == uid)
            && let Some(known) = self.pods.remove(name)
            && let Some(members) = self.groups.get_mut(&known.group)
        {
            members.remove(name);
        }
    }

    fn check_group(&mut self, group: &str) {
        let members = self.groups.get(group).into_iter().flatten();
        let members: Vec<_> = members.filter_map(|name| self.pods.get(name)).collect();
        let revisions: BTreeSet<_> = members.iter().map(|pod| &pod.revision).collect();
        if revisions.len() > 1 {
            self.faults
                .push(format!("group {group} mixes revisions {revisions:?}"));
        }
        if members.len() > self.promise.pods {
            let count = members.len();
            self.faults.push(format!("group {group} has {count} pods"));
        }
    }

    fn check_serving(&mut self, serving: &str) {
        let prefix = format!("{serving}-");
        let groups = self.groups.range(prefix.clone()..);
        let available = groups
            .take_while(|(name, _)| name.starts_with(&prefix))
            .filter(|(_, members)| {
                let ready = members
                    .iter()
                    .filter_map(|name| self.pods.get(name))
                    .filter(|pod| pod.serving == serving && pod.is_ready);
                ready.count() == self.promise.pods
            })
            .count();
        if available == self.promise.groups {
            self.complete.insert(serving.to_owned());
        }
        if self.complete.contains(serving) {
            self.least = self.least.min(available);
            if available + self.promise.unavailable < self.promise.groups {
                self.faults
                    .push(format!("{serving} has only {available} groups available"));
            }
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests;
