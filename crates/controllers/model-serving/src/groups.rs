//! How many serving groups there are.

use kthena_api::int_or_percent::Rounding;

use crate::order::{Rank, vacancies, victims};
use crate::revision::{GroupTemplate, Revisions};
use crate::state::Groups;
use crate::view::ServingView;

/// Groups that a rollout leaves alone, counted from the lowest ordinal. A value nobody can read counts as none.
pub(crate) fn protected(view: &ServingView) -> usize {
    let spec = &view.serving.spec;
    let partition = spec
        .rollout_strategy
        .as_ref()
        .and_then(|strategy| strategy.rolling_update_configuration.as_ref())
        .and_then(|configuration| configuration.partition.as_ref())
        .and_then(|partition| partition.scaled(view.wanted_groups(), Rounding::Up));
    usize::try_from(partition.unwrap_or(0)).unwrap_or(0)
}

/// The groups that must go because there are too many; includes those that go already.
pub(crate) fn surplus(view: &ServingView, groups: &Groups<'_>, protected: usize) -> Vec<i32> {
    let ranks = groups
        .iter()
        .map(|(ordinal, group)| (*ordinal, group.rank()))
        .collect();
    surplus_of(&ranks, view.wanted_groups(), protected)
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
    protected: usize,
) -> impl Iterator<Item = (i32, GroupTemplate<'a>)> + use<'a, 'v> {
    vacancies(groups, view.wanted_groups()).map(move |ordinal| {
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
