//! Waits until the caches show what was done.
//!
//! Watches lag behind writes. A plan made in between would count what was just created as missing; its names
//! collide, so nothing is created twice, but every such write is wasted and every such status is wrong.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kthena_controllers_model_serving::ServingView;
use tokio::time::Instant;

use crate::metrics::WriteLabel;

/// How long a lagging cache is waited for. A pod that came and went unseen is the only harmless reason.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the caches should show soon.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    /// Names that should be occupied.
    created: HashMap<String, Instant>,
    /// Uids that should be gone, or on their way out.
    deleted: HashMap<String, Instant>,
}

impl Expectations {
    /// Something was created under this name (kinds do not share names with each other here but for services,
    /// so callers prefix them).
    pub(crate) fn created(&mut self, kind: Kind, name: &str, now: Instant) {
        self.created.insert(kind.prefixed(name), now + PATIENCE);
    }

    /// The object of this uid was deleted.
    pub(crate) fn deleted(&mut self, uid: &str, now: Instant) {
        self.deleted.insert(uid.to_owned(), now + PATIENCE);
    }

    /// Drops what the view shows. Answers how long to wait at most for the rest; `None` if there is no rest.
    pub(crate) fn outstanding(&mut self, view: &ServingView, now: Instant) -> Option<Duration> {
        self.created.retain(|_, until| *until > now);
        self.deleted.retain(|_, until| *until > now);
        if self.created.is_empty() && self.deleted.is_empty() {
            return None;
        }
        let mut names = HashSet::new();
        let mut live = HashSet::new();
        for pod in &view.pods {
            names.insert(Kind::Pod.prefixed(&pod.name));
            if !pod.is_terminating {
                live.insert(pod.uid.as_str());
            }
        }
        for service in &view.services {
            names.insert(Kind::Service.prefixed(&service.name));
            if !service.is_terminating {
                live.insert(service.uid.as_str());
            }
        }
        for snapshot in &view.snapshots {
            names.insert(Kind::Snapshot.prefixed(&snapshot.name));
            if !snapshot.is_terminating {
                live.insert(snapshot.uid.as_str());
            }
        }
        for gang in &view.pod_groups {
            names.insert(Kind::PodGroup.prefixed(&gang.name));
            if !gang.is_terminating {
                live.insert(gang.uid.as_str());
            }
        }
        self.created.retain(|name, _| !names.contains(name));
        self.deleted.retain(|uid, _| live.contains(uid.as_str()));
        let last = self.created.values().chain(self.deleted.values()).max()?;
        Some(last.saturating_duration_since(now))
    }
}

/// What kind of object a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pod,
    Service,
    Snapshot,
    PodGroup,
}

impl Kind {
    /// Under what a write of it is counted.
    pub(crate) fn label(self) -> WriteLabel {
        match self {
            Self::Pod => WriteLabel::pod,
            Self::Service => WriteLabel::service,
            Self::Snapshot => WriteLabel::revision,
            Self::PodGroup => WriteLabel::pod_group,
        }
    }

    fn prefixed(self, name: &str) -> String {
        let prefix = match self {
            Self::Pod => "pod",
            Self::Service => "service",
            Self::Snapshot => "snapshot",
            Self::PodGroup => "podgroup",
        };
        format!("{prefix}/{name}")
    }
}

#[cfg(test)]
mod tests;
