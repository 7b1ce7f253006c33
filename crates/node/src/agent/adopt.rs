//! Takes up what an earlier agent has left: its memory of a pod, matched with what the supervisor knows.

use jiff::Timestamp;

use super::launcher;
use crate::config::NodeConfig;
use crate::plan::memory::{Event, Exit, Life};
use crate::state::PodRecord;
use crate::supervisor::protocol::Known;
use crate::supervisor::record::end_of;

/// Brings a record up to date. Answers the containers that have ended while no agent was there; they count as
/// running until their ends are recorded.
pub(super) fn take_up<'a>(
    record: &mut PodRecord,
    known: &'a [Known],
    config: &NodeConfig,
    now: Timestamp,
) -> Vec<&'a Known> {
    record.memory.resume();
    let mut ended = Vec::new();
    for container in record.live() {
        let id = record.id_of(&container);
        let Some(known) = known.iter().find(|known| known.id == id) else {
            gone_with_node(record, &container, config, now);
            continue;
        };
        let started = Event::Started {
            at: known.started_at,
            stand_in: record.memory.container(&container).stand_in,
        };
        record.memory.record(&container, started, &config.backoff);
        if known.ended.is_some() {
            ended.push(known);
        }
    }
    ended
}

/// The supervisor has died under the agent and taken a container with it.
pub(super) fn lost(record: &mut PodRecord, container: &str, config: &NodeConfig, now: Timestamp) {
    let event = end_on_file(record, container, config)
        .unwrap_or_else(|| unknown_end(record, container, now));
    record
        .memory
        .record(container, Event::Exited(event), &config.backoff);
}

/// A container that the supervisor does not know: it ended by itself before, or both went down together.
fn gone_with_node(record: &mut PodRecord, container: &str, config: &NodeConfig, now: Timestamp) {
    let event = end_on_file(record, container, config).map_or_else(
        || Event::Interrupted(unknown_end(record, container, now)),
        Event::Exited,
    );
    record.memory.record(container, event, &config.backoff);
}

fn end_on_file(record: &PodRecord, container: &str, config: &NodeConfig) -> Option<Exit> {
    let ended = end_of(&config.state_dir, &record.id_of(container))?;
    let begun = began(record, container).unwrap_or(ended.at);
    Some(launcher::exit(begun, &ended))
}

fn unknown_end(record: &PodRecord, container: &str, now: Timestamp) -> Exit {
    Exit {
        code: 137,
        signal: Some(9),
        reason: "ContainerStatusUnknown".to_owned(),
        message: Some("the process was gone when the node looked for it".to_owned()),
        started_at: began(record, container).unwrap_or(now),
        finished_at: now,
    }
}

fn began(record: &PodRecord, container: &str) -> Option<Timestamp> {
    match record.memory.container(container).life {
        Life::Running { started_at } => Some(started_at),
        _ => None,
    }
}
