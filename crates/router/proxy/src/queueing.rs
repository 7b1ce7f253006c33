//! What queues of requests need beside the requests: time, and what was measured of the engines.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kthena_router_filters::queue::{Engines, Queues};
use kthena_router_filters::{Clock, Now};
use kthena_router_view::Snapshot;
use tokio::time::MissedTickBehavior;

use crate::shared::Shared;

/// How often queues hear of their engines, which is how often engines are measured unless configured otherwise.
const MEASURED: Duration = Duration::from_secs(1);

/// The clocks of this machine.
pub(crate) fn clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Now {
            monotonic: Instant::now(),
            unix: since.map_or(0, |since| since.as_secs()),
        }
    })
}

/// Moves the queues by time and by measurements. Never ends.
pub(crate) async fn run(shared: &Shared) {
    let Some(queues) = &shared.queues else {
        return pending().await;
    };
    let mut measured = tokio::time::interval(MEASURED);
    measured.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = queues.run_due();
        let waiting = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = waiting => {}
            () = queues.rung() => {}
            _ = measured.tick() => tell_engines(queues, &shared.snapshot.load()),
        }
    }
}

fn tell_engines(queues: &Queues, snapshot: &Snapshot) {
    for model in queues.models() {
        queues.set_engines(&model, engines(snapshot, &model));
    }
}

/// The engines that have the model or adapter loaded, under the name they know it by.
pub(crate) fn engines(snapshot: &Snapshot, model: &str) -> Engines {
    let mut engines = Engines::default();
    let mut seen = HashSet::new();
    for (server, served) in snapshot.servers_of(model) {
        let pods = server.pods().map(|pod| &pod.endpoint);
        for endpoint in pods.filter(|endpoint| endpoint.models().contains(served)) {
            if seen.insert(endpoint.id()) {
                engines.pods += 1;
                let waits = endpoint.sample().is_some_and(|sample| sample.waiting > 0);
                engines.idle += u32::from(!waits);
            }
        }
    }
    engines
}
