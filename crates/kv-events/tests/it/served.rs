//! A real engine's events against what that engine said of each prompt.

use std::collections::BTreeSet;
use std::sync::Arc;

use kthena_kv_events::block_hash::lone_hash;
use kthena_kv_events::events::{Batch, KvEvent, Message, decode};
use kthena_kv_events::index::{Asked, CacheIndex, DEFAULT_BUDGET};
use kthena_kv_events::redis::{Change, Ledger};
use serde_json::Value;

const BLOCK: usize = 32;

/// A request as the engine served it.
struct Step {
    name: String,
    adapter: Option<String>,
    salted: bool,
    /// Messages before it.
    messages: usize,
    tokens: Vec<u32>,
    cached: usize,
}

struct Recording {
    steps: Vec<Step>,
    batches: Vec<(u64, Batch)>,
}

impl Recording {
    /// Requests about which a router would ask: not those with a salt. The last one comes before its engine says that
    /// it was told to forget everything, which no reader of events can know.
    fn asked(&self) -> impl Iterator<Item = &Step> {
        let (_, steps) = self.steps.split_last().unwrap();
        steps.iter().filter(|step| !step.salted)
    }
}

fn recording() -> Recording {
    let text = include_str!("../../fixtures/vllm-0.32-served.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let step = |step: &Value| Step {
        name: step["name"].as_str().unwrap().to_owned(),
        adapter: step["adapter"].as_str().map(str::to_owned),
        salted: !step["salt"].is_null(),
        messages: number(&step["messages"]),
        tokens: serde_json::from_value(step["tokens"].clone()).unwrap(),
        cached: number(&step["cached"]),
    };
    let batch = |frames: &Value| {
        let frames: Vec<Vec<u8>> = frames.as_array().unwrap().iter().map(unhex).collect();
        let message = Message::from_frames(&frames).unwrap();
        assert!(message.is_on("kv-events"));
        (message.sequence.unwrap(), decode(message.payload).unwrap())
    };
    Recording {
        steps: all["steps"].as_array().unwrap().iter().map(step).collect(),
        batches: all["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(batch)
            .collect(),
    }
}

fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn the_recording_has_every_kind_of_event() {
    let events = recording().batches.into_iter().flat_map(|(_, batch)| {
        assert_eq!((batch.faulty, batch.unknown), (0, 0));
        batch.events
    });
    let (mut removed, mut cleared, mut adapters, mut keyed) = (0, 0, BTreeSet::new(), 0);
    for event in events {
        match event {
            KvEvent::Removed(gone) => removed += gone.hashes.len(),
            KvEvent::Cleared => cleared += 1,
            KvEvent::Stored(stored) => {
                keyed += usize::from(stored.keyed);
                let name = stored.adapter.and_then(|adapter| adapter.name);
                adapters.extend(name.map(|name| name.to_string()));
            }
        }
    }
    assert!(removed > 10, "{removed}");
    assert_eq!(cleared, 2, "one at the start, one near the end");
    assert!(keyed > 0, "the salted prompt");
    assert_eq!(adapters, BTreeSet::from(["sql".to_owned()]));
}

#[test]
fn the_index_says_of_every_prompt_what_the_engine_said() {
    let recording = recording();
    let index = Arc::new(CacheIndex::new(DEFAULT_BUDGET, 7));
    let mut owner = index.join(1).unwrap();
    let mut applied = 0;
    for step in recording.asked() {
        for (_, batch) in &recording.batches[applied..step.messages] {
            owner.apply(batch);
        }
        applied = step.messages;
        let mut lengths = [0];
        let asked = Asked {
            tokens: &step.tokens,
            adapter: step.adapter.as_deref(),
            max_blocks: 128,
        };
        index.lookup(&asked, &std::iter::once(1), &mut lengths);
        let predicted = usize::try_from(lengths[0]).unwrap() * BLOCK;
        assert!(
            predicted.abs_diff(step.cached) <= BLOCK,
            "{}: {predicted} of {}",
            step.name,
            step.cached
        );
    }
    assert_eq!(index.figures().orphans, 0);

    for (_, batch) in &recording.batches[applied..] {
        owner.apply(batch);
    }
    // The engine says that it forgot everything only together with the first blocks it holds after that.
    let last = recording.steps.last().unwrap();
    assert_eq!(index.figures().blocks, (last.tokens.len() / BLOCK) as u64);
}

#[test]
fn what_sidecars_write_says_the_same() {
    let recording = recording();
    let mut ledger = Ledger::new(1000);
    let mut owned = BTreeSet::new();
    let mut applied = 0;
    for step in recording.asked() {
        for (sequence, batch) in &recording.batches[applied..step.messages] {
            ledger.observe(0, Some(*sequence));
            for change in ledger.apply(0, batch) {
                match change {
                    Change::Own { standard } => drop(owned.insert(standard)),
                    Change::Disown { standard } => drop(owned.remove(&standard)),
                    Change::Map { .. } | Change::Unmap { .. } => {}
                }
            }
        }
        applied = step.messages;
        if step.adapter.is_some() {
            continue;
        }
        let blocks = step.tokens.chunks_exact(BLOCK);
        let held = blocks.take_while(|tokens| owned.contains(&lone_hash(tokens)));
        let predicted = held.count() * BLOCK;
        assert!(
            predicted.abs_diff(step.cached) <= BLOCK,
            "{}: {predicted} of {}",
            step.name,
            step.cached
        );
    }
}
