use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::model::{GpuProfile, ModelProfile};

fn config() -> BatchConfig {
    BatchConfig {
        model: StepModel {
            gpu: GpuProfile::by_name("a6000").unwrap(),
            model: ModelProfile::by_name("qwen2.5-7b"),
            tensor_parallel: 1,
            pipeline_parallel: 1,
        },
        cache: CacheConfig {
            blocks: 1000,
            block_size: 16,
            prefix_caching: true,
            record_events: false,
        },
        max_sequences: 256,
        max_batched_tokens: 2048,
        max_model_len: 8192,
        adapter_slots: 1,
        adapter_load: Duration::from_millis(200),
    }
}

fn request(id: RequestId, prompt: u32, output: u32) -> NewRequest {
    NewRequest {
        id,
        // Distinct per request, so that only tests that want it share prefixes.
        prompt: (0..prompt).map(|at| at + 100_000 * id as u32).collect(),
        output: (0..output).collect(),
        finish: FinishReason::Length,
        adapter: None,
        prefill: Prefill::Local,
        after: After::Free,
        arrived: Duration::ZERO,
    }
}

/// Steps until nothing is left; outcomes with the time each started.
fn drain(engine: &mut Engine) -> Vec<(Duration, StepOutcome)> {
    let mut now = Duration::ZERO;
    let mut out = Vec::new();
    for _ in 0..100_000 {
        match engine.step(now) {
            Step::Idle => return out,
            Step::Wait { until } => {
                assert!(until > now);
                now = until;
            }
            Step::Ran(outcome) => {
                let start = now;
                now += outcome.duration;
                out.push((start, *outcome));
            }
        }
    }
    panic!("the engine does not come to an end");
}

fn finished(steps: &[(Duration, StepOutcome)]) -> BTreeMap<RequestId, Finished> {
    let all = steps.iter().flat_map(|(_, step)| &step.finished);
    all.map(|done| (done.id, *done)).collect()
}

#[test]
fn one_request_takes_one_step_per_token() {
    let mut engine = Engine::new(config());
    engine.submit(request(1, 100, 5)).unwrap();
    let steps = drain(&mut engine);
    assert_eq!(steps.len(), 5);
    let tokens: Vec<u32> = steps
        .iter()
        .flat_map(|(_, step)| step.emitted.iter().map(|new| new.token))
        .collect();
    assert_eq!(tokens, [0, 1, 2, 3, 4]);
    let done = finished(&steps)[&1];
    assert_eq!(
        (done.prompt_tokens, done.output_tokens, done.cached_tokens),
        (100, 5, 0)
    );
    assert_eq!(done.total, done.queued + done.prefill + done.decode);
    assert!(engine.is_idle());
    assert_eq!(engine.load(), Load::default());
}

#[test]
fn long_prompts_are_computed_in_pieces_beside_decoding() {
    let mut engine = Engine::new(config());
    engine.submit(request(1, 50, 20)).unwrap();
    engine.step(Duration::ZERO);
    engine.submit(request(2, 5000, 1)).unwrap();
    let steps = drain(&mut engine);
    // 5,000 tokens at 2,047 a step, and the other request gets a token in each.
    assert_eq!(steps[0].1.prompt_tokens, 2047);
    assert_eq!(steps[1].1.prompt_tokens, 2047);
    assert_eq!(steps[2].1.prompt_tokens, 906);
    assert!(
        steps[..3]
            .iter()
            .all(|(_, step)| step.emitted.iter().any(|new| new.id == 1))
    );
    assert!(steps[2].1.emitted.iter().any(|new| new.id == 2));
}

#[test]
fn a_repeated_prompt_is_computed_but_for_its_last_block() {
    let mut engine = Engine::new(config());
    engine.submit(request(1, 256, 2)).unwrap();
    drain(&mut engine);
    let mut again = request(2, 256, 2);
    again.prompt = request(1, 256, 2).prompt;
    engine.submit(again).unwrap();
    let steps = drain(&mut engine);
    assert_eq!(finished(&steps)[&2].cached_tokens, 240);
    assert_eq!(steps[0].1.prompt_tokens, 16);
    assert_eq!(
        (engine.totals().cache_queries, engine.totals().cache_hits),
        (512, 240)
    );
}

#[test]
fn equal_prompts_that_join_together_are_computed_once() {
    let mut engine = Engine::new(config());
    for id in 1..=4 {
        let mut new = request(id, 512, 2);
        new.prompt = (0..512).collect();
        engine.submit(new).unwrap();
    }
    let Step::Ran(first) = engine.step(Duration::ZERO) else {
        panic!("no step")
    };
    assert_eq!(first.prompt_tokens, 512 + 3 * 16);
}

#[test]
fn generated_blocks_serve_the_next_turn() {
    let mut engine = Engine::new(config());
    engine.submit(request(1, 64, 64)).unwrap();
    drain(&mut engine);
    let mut next = request(2, 64, 1);
    next.prompt = request(1, 64, 0).prompt;
    next.prompt.extend(0..64);
    next.prompt.extend([7; 20]);
    engine.submit(next).unwrap();
    // The last generated token was never computed, so its block is not there.
    assert_eq!(finished(&drain(&mut engine))[&2].cached_tokens, 112);
}

#[test]
fn the_last_to_join_makes_room_and_still_finishes() {
    let mut engine = Engine::new(BatchConfig {
        cache: CacheConfig {
            blocks: 20,
            ..config().cache
        },
        ..config()
    });
    for id in 1..=3 {
        engine.submit(request(id, 64, 128)).unwrap();
    }
    let done = finished(&drain(&mut engine));
    assert_eq!(done.len(), 3);
    assert_eq!(done[&1].preemptions, 0);
    assert!(done[&2].preemptions + done[&3].preemptions > 0);
    assert!(engine.totals().preemptions > 0);
    assert!(done.values().all(|done| done.output_tokens == 128));
}

#[test]
fn sequences_over_the_limit_wait() {
    let mut engine = Engine::new(BatchConfig {
        max_sequences: 2,
        ..config()
    });
    for id in 1..=3 {
        engine.submit(request(id, 16, 4)).unwrap();
    }
    let Step::Ran(first) = engine.step(Duration::ZERO) else {
        panic!("no step")
    };
    assert_eq!(
        (first.load.running, first.load.waiting, first.load.deferred),
        (2, 1, 0)
    );
    let done = finished(&drain(&mut engine));
    assert!(done[&3].queued > Duration::ZERO);
}

#[test]
fn adapters_share_slots_and_cost_their_load() {
    let mut engine = Engine::new(config());
    for (id, adapter) in [(1, "a"), (2, "b"), (3, "a")] {
        let mut new = request(id, 16, 4);
        new.adapter = Some(adapter.into());
        engine.submit(new).unwrap();
    }
    let Step::Ran(first) = engine.step(Duration::ZERO) else {
        panic!("no step")
    };
    // `b` waits for the only slot; the second request of `a` overtakes it.
    assert_eq!((first.load.running, first.load.deferred), (2, 1));
    assert_eq!(first.load.waiting_adapters, [Arc::<str>::from("b")]);
    assert!(first.duration >= Duration::from_millis(200));
    let Step::Ran(second) = engine.step(first.duration) else {
        panic!("no step")
    };
    assert!(second.duration < Duration::from_millis(100));
    assert_eq!(finished(&drain(&mut engine)).len(), 3);
}

#[test]
fn a_transferred_prompt_waits_for_its_blocks_and_computes_one_token() {
    let mut engine = Engine::new(config());
    let mut new = request(1, 1000, 3);
    new.prefill = Prefill::Remote {
        ready_at: Duration::from_secs(1),
    };
    engine.submit(new).unwrap();
    let steps = drain(&mut engine);
    assert_eq!(steps[0].0, Duration::from_secs(1));
    assert_eq!(steps[0].1.prompt_tokens, 1);
    assert_eq!(engine.totals().transferred, 999);
}

#[test]
fn kept_blocks_stay_in_use_until_they_are_released() {
    let mut engine = Engine::new(config());
    let mut new = request(1, 160, 1);
    new.after = After::Keep;
    engine.submit(new).unwrap();
    drain(&mut engine);
    assert!(engine.is_idle());
    assert!(engine.load().cache_usage > 0.0);
    assert!(!engine.reset_cache());
    assert_eq!(engine.cached_tokens(&request(1, 160, 1).prompt, None), 160);
    assert!(engine.release(1));
    assert!(!engine.release(1));
    assert_eq!(engine.load(), Load::default());
    assert!(engine.reset_cache());
}

#[test]
fn an_aborted_request_leaves_nothing() {
    let mut engine = Engine::new(config());
    engine.submit(request(1, 100, 50)).unwrap();
    engine.step(Duration::ZERO);
    assert!(engine.abort(1));
    assert!(!engine.abort(1));
    assert!(engine.is_idle());
    assert!(matches!(engine.step(Duration::ZERO), Step::Idle));
    assert_eq!(engine.load(), Load::default());
}

#[test]
fn what_cannot_fit_is_refused() {
    let mut engine = Engine::new(config());
    assert_eq!(
        engine.submit(request(1, 8000, 193)),
        Err(SubmitError::TooLong { tokens: 8193 })
    );
    assert_eq!(engine.submit(request(1, 0, 1)), Err(SubmitError::Empty));
    assert!(engine.is_idle());
}

#[derive(Debug, Clone)]
struct Arrival {
    prompt: u32,
    output: u32,
    shared: bool,
    adapter: Option<u8>,
    abort_after: Option<u8>,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    (
        1_u32..120,
        1_u32..40,
        any::<bool>(),
        prop::option::weighted(0.3, 0_u8..3),
        prop::option::weighted(0.2, 0_u8..10),
    )
        .prop_map(|(prompt, output, shared, adapter, abort_after)| Arrival {
            prompt,
            output,
            shared,
            adapter,
            abort_after,
        })
}

proptest! {
    #[test]
    fn every_request_ends_once_with_its_own_tokens(
        arrivals in prop::collection::vec(arrival(), 1..25),
        blocks in 12_u32..40,
        budget in 8_u32..64,
        sequences in 1_u32..8,
    ) {
        let mut engine = Engine::new(BatchConfig {
            cache: CacheConfig { blocks, ..config().cache },
            max_batched_tokens: budget,
            max_sequences: sequences,
            ..config()
        });
        let mut expected = HashMap::new();
        let mut aborts: Vec<(usize, RequestId)> = Vec::new();
        for (at, arrival) in arrivals.iter().enumerate() {
            let id = at as RequestId + 1;
            let mut new = request(id, arrival.prompt, arrival.output);
            if arrival.shared {
                new.prompt = (0..arrival.prompt).collect();
            }
            new.adapter = arrival.adapter.map(|name| name.to_string().into());
            engine.submit(new).unwrap();
            expected.insert(id, arrival.output);
            if let Some(step) = arrival.abort_after {
                aborts.push((usize::from(step), id));
            }
        }
        let mut got: HashMap<RequestId, Vec<u32>> = HashMap::new();
        let mut now = Duration::ZERO;
        let mut steps = 0;
        loop {
            for (_, id) in aborts.iter().filter(|(step, _)| *step == steps) {
                engine.abort(*id);
                expected.remove(id);
                got.remove(id);
            }
            let Step::Ran(outcome) = engine.step(now) else { break };
            now += outcome.duration;
            steps += 1;
            prop_assert!(steps < 20_000);
            prop_assert!(outcome.load.running <= sequences);
            prop_assert!(outcome.load.running_adapters.len() <= 1);
            prop_assert!(outcome.prompt_tokens <= u64::from(budget));
            for new in &outcome.emitted {
                let tokens = got.entry(new.id).or_default();
                prop_assert_eq!(new.first, tokens.is_empty());
                tokens.push(new.token);
            }
            for done in &outcome.finished {
                let wanted = expected.remove(&done.id);
                if let Some(wanted) = wanted {
                    prop_assert_eq!(got.remove(&done.id), Some((0..wanted).collect::<Vec<_>>()));
                }
            }
        }
        prop_assert!(expected.is_empty(), "left over: {:?}", expected);
        prop_assert!(engine.is_idle());
        prop_assert_eq!(engine.load(), Load::default());
    }
}
