//! Times policies while they place a request, and counts what they found.

use std::time::Instant;

use kthena_router_observability::SchedulingCell;
use kthena_router_scheduler::{Notes, PluginEvent, Seen, Step, StepKind, Watch};

/// Looks on at one decision with a clock.
pub(crate) struct Stopwatch<'c> {
    cell: &'c SchedulingCell,
    begun: Instant,
}

impl<'c> Stopwatch<'c> {
    pub(crate) fn new(cell: &'c SchedulingCell) -> Self {
        Self {
            cell,
            begun: Instant::now(),
        }
    }
}

impl Watch for Stopwatch<'_> {
    fn begins(&mut self, _step: Step) {
        self.begun = Instant::now();
    }

    fn ended(&mut self, step: Step, _seen: Seen<'_>) {
        let kind = match step.kind {
            StepKind::Filter => "filter",
            StepKind::Score => "score",
        };
        self.cell
            .plugin_ran(step.plugin, kind, self.begun.elapsed());
    }
}

/// Counts what policies told about the decision that was just made.
pub(crate) fn count(cell: Option<&SchedulingCell>, notes: &Notes) {
    let events = notes.take_events();
    let Some(cell) = cell else { return };
    for event in events {
        match event {
            PluginEvent::PrefixMatch(share) => cell.prefix_matched(share),
            PluginEvent::KvMatch(share) => cell.kv_matched(share),
            // Compared with what comes by the policy itself.
            PluginEvent::Estimate(_) => {}
        }
    }
}
