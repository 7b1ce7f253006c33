//! Notices a rollout that does not get on.
//!
//! Progress is a group more that is updated or available. The clock runs while a group that should be ready or
//! updated is not, except during a pause; it begins anew after a pause, and when the controller is restarted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::groups;
use crate::memory::Progress;
use crate::plan::Draft;
use crate::status::{Frame, Tally};

/// Says since when nothing happened, once that is longer than the deadline of the spec.
///
/// `before` are the groups as they were found, `after` as the plan makes them.
pub(crate) fn watch(
    frame: &Frame<'_>,
    before: &BTreeMap<i32, Tally>,
    after: &BTreeMap<i32, Tally>,
    draft: &mut Draft,
) -> Option<String> {
    let strategy = frame.view.serving.spec.rollout_strategy.as_ref();
    let deadline = strategy
        .and_then(|strategy| strategy.progress_deadline_seconds)
        .filter(|seconds| *seconds > 0);
    let counts = frame.counts(before);
    let is_settled = groups::is_paused(frame.view) || frame.counts(after).is_settled;
    let Some(deadline) = deadline.filter(|_| !is_settled) else {
        draft.memory.progress = None;
        return None;
    };
    let before = draft.memory.progress.take().filter(|before| {
        before.revision == frame.revisions.update
            && before.updated >= counts.updated
            && before.available >= counts.available
    });
    let since = before.map_or(frame.now.steady, |before| before.since);
    draft.memory.progress = Some(Progress {
        revision: frame.revisions.update.clone(),
        updated: counts.updated,
        available: counts.available,
        since,
    });
    let deadline = Duration::from_secs(u64::from(deadline.unsigned_abs()));
    let left = (since + deadline).saturating_sub(frame.now.steady);
    if !left.is_zero() {
        draft.look_again(left);
        return None;
    }
    Some(format!("no progress for {} s", deadline.as_secs()))
}

#[cfg(test)]
mod tests;
