//! Reads off what the parts of the router count, when somebody asks for metrics.

use kthena_router_filters::queue::{Queues, WAIT_BOUNDS};
use kthena_router_filters::settings::Pace;
use kthena_router_observability::RouterFigures;
use kthena_router_observability::figures::{
    OneQueue, QueueFigures, QueueOrder, SessionFigures, VisitFigures,
};

use crate::shared::Shared;

/// Everything that is not counted per request.
pub(crate) fn of(shared: &Shared) -> RouterFigures {
    let sessions = shared.sticky.counts();
    RouterFigures {
        queues: shared.queues.as_deref().map(queues),
        sessions: SessionFigures {
            entries: sessions.entries,
            bytes: sessions.bytes,
            evicted: sessions.evicted,
            expired: sessions.expired,
            moved: sessions.moved,
        },
        visits: shared.scrapes.then(|| VisitFigures {
            ended: shared.engines.visits(),
            failed: shared.engines.failures(),
            outdated: shared.engines.outdated(),
        }),
        index: shared.kv.as_ref().map(|kv| kv.figures()),
        tokenizers: shared
            .kv
            .as_ref()
            .map(|kv| kv.tokenizers())
            .unwrap_or_default(),
    }
}

/// With both strategies on, users come first, and so do the families of fairness.
fn queues(queues: &Queues) -> QueueFigures {
    let order = match &queues.config().fairness {
        Some(fairness) => QueueOrder::Fairness {
            permits: matches!(fairness.pace, Pace::Permits(_)),
        },
        None => QueueOrder::SessionBoost,
    };
    let mut counts = queues.counts();
    counts.sort_by(|(one, _), (other, _)| one.cmp(other));
    let queues = counts.into_iter().map(|(model, counts)| OneQueue {
        model: model.to_string(),
        waiting: counts.waiting,
        in_flight: counts.in_flight,
        admitted: counts.admitted,
        cancelled: counts.cancelled,
        refused: counts.refused,
        refreshed: counts.refreshed,
        rebuilt: counts.rebuilt,
        waits: counts.waits.buckets.to_vec(),
        waited: counts.waits.sum,
    });
    QueueFigures {
        order,
        wait_bounds: &WAIT_BOUNDS,
        queues: queues.collect(),
    }
}
