//! What it costs to ask the index of cache events about a prompt, and to take an event in.

use std::net::SocketAddr;
use std::sync::Arc;

use kthena_kv_events::events::{Batch, KvEvent, Stored};
use kthena_kv_events::index::{CacheIndex, Owner};
use kthena_router_scheduler::{Candidate, Candidates, Endpoint, KvIndex, KvQuery, PodIdentity};

use crate::report::say;
use crate::scheduling::cpu_time;
use crate::table::{Bound, Figure};

/// Tokens of a block.
pub(crate) const SIZE: u32 = 32;
/// Blocks of the prompt.
const BLOCKS: u32 = 128;
/// Engines that hold all of it.
const CASES: [(u32, &str); 3] = [
    (2, "128 blocks, 2 engines hold them"),
    (8, "128 blocks, 8 engines hold them"),
    (32, "128 blocks, 32 engines hold them"),
];
const WARM_UP: u32 = 500;
const ROUNDS: u32 = 5_000;

/// Prints a line per number of owners.
pub(crate) fn run() -> anyhow::Result<()> {
    for (owners, name) in CASES {
        let (lookup, store) = measure(owners);
        say(&Figure {
            name,
            measured: lookup,
            unit: "µs",
            bound: Bound::None,
            note: format!("taking one engine's event in: {store:.1} µs"),
        }
        .to_string())?;
    }
    Ok(())
}

/// CPU microseconds of a lookup, and of an event that stores all blocks.
fn measure(count: u32) -> (f64, f64) {
    let index = Arc::new(CacheIndex::new(256 << 20, 7));
    let candidates: Vec<Candidate> = (0..count).map(candidate).collect();
    let prompt: Vec<u32> = (0..BLOCKS * SIZE).collect();
    let batch = stored(0, None, prompt.clone());
    let begun = cpu_time();
    let owners: Vec<Owner> = candidates
        .iter()
        .filter_map(|candidate| {
            let mut owner = index.join(candidate.endpoint.id().get().into())?;
            owner.apply(&batch);
            Some(owner)
        })
        .collect();
    let storing = cpu_time().saturating_sub(begun);
    let query = KvQuery {
        model: "m",
        adapter: false,
        tokens: &prompt,
        block_tokens: SIZE,
        max_blocks: BLOCKS,
    };
    let all = Candidates::all(&candidates);
    let mut lengths = vec![0; all.len()];
    let mut begun = cpu_time();
    for round in 0..WARM_UP + ROUNDS {
        if round == WARM_UP {
            begun = cpu_time();
        }
        lengths.fill(0);
        let index: &CacheIndex = &index;
        std::hint::black_box(KvIndex::lookup(index, &query, &all, &mut lengths));
    }
    let looking = cpu_time().saturating_sub(begun);
    drop(owners);
    (
        looking.as_secs_f64() * 1e6 / f64::from(ROUNDS),
        storing.as_secs_f64() * 1e6 / f64::from(count),
    )
}

/// An event of consecutive blocks named from `first` on.
pub(crate) fn stored(first: u64, parent: Option<u64>, tokens: Vec<u32>) -> Batch {
    let count = (tokens.len() / SIZE as usize) as u64;
    Batch {
        events: vec![KvEvent::Stored(Stored {
            hashes: (first..first + count).map(Into::into).collect(),
            parent: parent.map(Into::into),
            tokens,
            block_size: SIZE,
            ..Stored::default()
        })],
        ..Batch::default()
    }
}

fn candidate(number: u32) -> Candidate {
    let pod = PodIdentity {
        namespace: "bench".into(),
        name: format!("pod-{number}").into(),
        uid: number.to_string().into(),
    };
    Candidate {
        endpoint: Arc::new(Endpoint::new(pod)),
        address: SocketAddr::from(([127, 0, 0, 1], 8000)),
    }
}
