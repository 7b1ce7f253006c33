//! Which controllers a `--controllers` list asks for.

use std::collections::BTreeSet;

/// A controller that can be switched on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    ModelServing,
    ModelBooster,
    Autoscaler,
}

impl Controller {
    const ALL: [Self; 3] = [Self::ModelServing, Self::ModelBooster, Self::Autoscaler];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ModelServing => "modelserving",
            Self::ModelBooster => "modelbooster",
            Self::Autoscaler => "autoscaler",
        }
    }
}

/// Name of the part of the ModelServing controller that serves LeaderWorkerSets; it is on unless it is excluded.
const LEADER_WORKER_SETS: &str = "leaderworkerset";

/// Reads a comma separated list. Naming a controller beats excluding it; `*` stands for all that are not excluded,
/// and so does a list of nothing but exclusions. A list that names nothing known asks for all.
pub(super) fn enabled(list: &str) -> BTreeSet<Controller> {
    let entries: Vec<_> = entries(list).collect();
    let has_only_exclusions =
        !entries.is_empty() && entries.iter().all(|entry| entry.starts_with('-'));
    let takes_rest = has_only_exclusions || entries.contains(&"*");
    let is_enabled = |controller: &Controller| {
        let name = controller.name();
        is_named(list, name) || takes_rest && !is_excluded(list, name)
    };
    let chosen: BTreeSet<_> = Controller::ALL.into_iter().filter(is_enabled).collect();
    if chosen.is_empty() {
        Controller::ALL.into_iter().collect()
    } else {
        chosen
    }
}

/// Whether the ModelServing controller serves LeaderWorkerSets too.
pub(super) fn serves_leader_worker_sets(list: &str) -> bool {
    is_named(list, LEADER_WORKER_SETS) || !is_excluded(list, LEADER_WORKER_SETS)
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

fn is_named(list: &str, name: &str) -> bool {
    entries(list).any(|entry| entry.strip_prefix('+').unwrap_or(entry) == name)
}

fn is_excluded(list: &str, name: &str) -> bool {
    entries(list).any(|entry| entry.strip_prefix('-') == Some(name))
}
