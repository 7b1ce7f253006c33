//! How many serving groups there are.

use kthena_api::int_or_percent::Rounding;
use kthena_api::model_serving::{RollingUpdateConfiguration, RolloutStrategy};

use crate::memory::Memory;
use crate::order::{Rank, vacancies, victims};
use crate::revision::{GroupTemplate, Revisions};
use crate::state::{Groups, Lifecycle, is_role_rollout};
use crate::view::ServingView;

/// Groups that a rollout leaves alone, counted from the lowest ordinal. A value nobody can read counts as none.
///
/// A pause protects them all: nothing is replaced, and what is lost comes back as it was.
pub(crate) fn protected(view: &ServingView) -> usize {
    if is_paused(view) {
        return usize::MAX;
    }
    let partition = configuration(view)
        .and_then(|configuration| configuration.partition.as_ref())
        .and_then(|partition| partition.scaled(view.wanted_groups(), Rounding::Up));
    usize::try_from(partition.unwrap_or(0)).unwrap_or(0)
}

fn strategy(view: &ServingView) -> Option<&RolloutStrategy> {
    view.serving.spec.rollout_strategy.as_ref()
}

/// Limits of a rollout of groups.
pub(crate) fn configuration(view: &ServingView) -> Option<&RollingUpdateConfiguration> {
    strategy(view)?.rolling_update_configuration.as_ref()
}

/// Somebody holds the rollout.
pub(crate) fn is_paused(view: &ServingView) -> bool {
    strategy(view).and_then(|strategy| strategy.paused) == Some(true)
}

/// Groups that a rollout may make beyond the wanted number.
pub(crate) fn max_surge(view: &ServingView) -> i32 {
    let configured = configuration(view).and_then(|configuration| configuration.max_surge.as_ref());
    let surge = configured.and_then(|surge| surge.scaled(view.wanted_groups(), Rounding::Up));
    if is_role_rollout(view) {
        0
    } else {
        surge.unwrap_or(0).max(0)
    }
}

/// How many groups there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Groups are created up to this number.
    pub(crate) create: i32,
    /// Groups beyond this number are deleted.
    pub(crate) keep: i32,
}

/// The number asked for, and a few more while a rollout needs them.
///
/// The extra ones stay until all wanted ordinals run, so that none of those is given up for them. Forgetting that
/// they exist is harmless: some wanted ordinal may then be left empty instead.
pub(crate) fn target(
    view: &ServingView,
    groups: &Groups<'_>,
    revisions: &Revisions<'_>,
    protected: usize,
    memory: &mut Memory,
) -> Target {
    let wanted = view.wanted_groups();
    let surge = max_surge(view);
    let outdated = groups
        .values()
        .skip(protected)
        .filter(|group| group.revision != revisions.update)
        .count();
    let settled = groups.range(0..wanted).filter(|(_, group)| {
        group.lifecycle == Lifecycle::Running || group.revision != revisions.update
    });
    let settled = i32::try_from(settled.count()).unwrap_or(wanted);
    let outdated = i32::try_from(outdated).unwrap_or(i32::MAX);
    let unsettled = wanted.saturating_sub(settled).saturating_add(outdated);
    // Groups of a template without pods leave no trace; there is nothing to replace.
    let has_pods = crate::roles::pods_of_group(&revisions.spec()) > 0;
    memory.is_surging =
        surge > 0 && has_pods && unsettled > 0 && (memory.is_surging || outdated > 0);
    if !memory.is_surging {
        return Target {
            create: wanted,
            keep: wanted,
        };
    }
    let beyond = i32::try_from(groups.range(wanted..).count()).unwrap_or(i32::MAX);
    Target {
        create: wanted.saturating_add(surge.min(unsettled.max(beyond))),
        keep: wanted.saturating_add(surge),
    }
}

/// Whether a group that must come back as it was is missing: until then its revision is not given up.
pub(crate) fn has_protected_gap(view: &ServingView, groups: &Groups<'_>, protected: usize) -> bool {
    let below = i32::try_from(protected).unwrap_or(i32::MAX);
    let present = groups.range(0..below.min(view.wanted_groups())).count();
    i32::try_from(present) != Ok(below.min(view.wanted_groups()))
}

/// The groups that must go because there are more than `target`; includes those that go already.
pub(crate) fn surplus(groups: &Groups<'_>, target: i32, protected: usize) -> Vec<i32> {
    let ranks = groups
        .iter()
        .map(|(ordinal, group)| (*ordinal, group.rank()))
        .collect();
    surplus_of(&ranks, target, protected)
}

/// The same for anything that is ranked: groups, or instances of a role.
pub(crate) fn surplus_of(
    ranks: &std::collections::BTreeMap<i32, Rank>,
    wanted: i32,
    protected: usize,
) -> Vec<i32> {
    let wanted = usize::try_from(wanted).unwrap_or(0);
    victims(ranks, ranks.len().saturating_sub(wanted), protected)
}

/// The ordinals at which groups are missing, and what each is built from.
pub(crate) fn missing<'a, 'v>(
    view: &'a ServingView,
    groups: &'v Groups<'a>,
    revisions: &'v Revisions<'a>,
    target: i32,
    protected: usize,
) -> impl Iterator<Item = (i32, GroupTemplate<'a>)> + use<'a, 'v> {
    vacancies(groups, target).map(move |ordinal| {
        let is_protected = usize::try_from(ordinal).is_ok_and(|ordinal| ordinal < protected);
        (ordinal, template(view, revisions, is_protected))
    })
}

/// A lost group below the partition comes back as it was.
fn template<'a>(
    view: &ServingView,
    revisions: &Revisions<'a>,
    is_protected: bool,
) -> GroupTemplate<'a> {
    let current = view
        .serving
        .status
        .as_ref()
        .map(|status| status.current_revision.as_str());
    let before = current.filter(|revision| is_protected && !revision.is_empty());
    before
        .and_then(|revision| revisions.template(revision))
        .unwrap_or_else(|| revisions.spec())
}
