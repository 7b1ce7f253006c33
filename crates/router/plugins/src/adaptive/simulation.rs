//! Whole fleets in virtual time: the production scheduler in front of the simulated engines' timing model.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use fastrand::Rng;
use kthena_engine_sim::batch::{
    After, BatchConfig, Engine, FinishReason, NewRequest, Prefill, Step, StepOutcome,
};
use kthena_engine_sim::kv_cache::{BlockHash, CacheConfig, KvEvent, chain};
use kthena_engine_sim::model::{GpuProfile, ModelProfile, StepModel};
use kthena_router_scheduler::{
    Candidate, Candidates, Dispatch, InFlight, KvBlocks, KvIndex, KvQuery, Notes, Outcome,
    PromptText, RequestFacts, Sample,
};

use crate::config::{FilterName, PluginArgs, SchedulerConfig, ScorerName};
use crate::fixtures::candidates;
use crate::scheduling::Scheduling;

mod tests;

/// Requests in groups that share a system prompt, in random order, so many at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workload {
    pub(super) groups: u32,
    pub(super) per_group: u32,
    /// Tokens that a group shares, tokens of a request's own, tokens of its answer.
    pub(super) shared: u32,
    pub(super) own: u32,
    pub(super) output: u32,
    pub(super) concurrency: usize,
    /// Blocks of 16 tokens in each engine's cache.
    pub(super) cache_blocks: u32,
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Result {
    pub(super) requests_per_second: f64,
    pub(super) first_token: f64,
    pub(super) cached_share: f64,
    /// Mean absolute error of `adaptive`'s estimates over the mean outcome.
    pub(super) error: f64,
}

const ENGINES: usize = 3;
const BLOCK: u32 = 16;
const SCRAPE: Duration = Duration::from_secs(1);

/// Four bytes a token.
struct TokenText<'t>(&'t [u32]);

impl PromptText for TokenText<'_> {
    fn pieces(&self, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        for token in self.0 {
            if take(&token.to_le_bytes()).is_break() {
                return;
            }
        }
    }
}

/// What engines hold, by their own events.
#[derive(Default)]
struct Held(Vec<HashSet<BlockHash>>);

impl KvIndex for Held {
    fn lookup(
        &self,
        query: &KvQuery<'_>,
        candidates: &Candidates<'_>,
        lengths: &mut [u32],
    ) -> Option<KvBlocks> {
        let mut hashes = Vec::new();
        chain(&mut hashes, query.tokens, BLOCK, None);
        for (length, candidate) in lengths.iter_mut().zip(candidates.iter()) {
            let at: usize = candidate.endpoint.pod().name.parse().ok()?;
            let known = hashes.iter().take_while(|hash| self.0[at].contains(hash));
            *length = u32::try_from(known.count()).ok()?;
        }
        Some(KvBlocks {
            count: u32::try_from(hashes.len()).ok()?,
            tokens: BLOCK,
        })
    }
}

impl Held {
    fn apply(&mut self, engine: usize, events: &[KvEvent]) {
        let held = &mut self.0[engine];
        for event in events {
            match event {
                KvEvent::BlockStored { hashes, .. } => held.extend(hashes),
                KvEvent::BlockRemoved { hashes } => {
                    for hash in hashes {
                        held.remove(hash);
                    }
                }
                KvEvent::AllBlocksCleared => held.clear(),
            }
        }
    }
}

/// A request on its way.
struct Flight {
    engine: usize,
    dispatch: Dispatch,
    begun: Duration,
    _counted: InFlight,
}

struct Fleet {
    scheduling: Scheduling,
    candidates: Vec<Candidate>,
    engines: Vec<Engine>,
    /// When the step of each engine is over, and what it brings.
    steps: Vec<Option<(Duration, Box<StepOutcome>)>>,
    held: Held,
    use_events: bool,
    queue: VecDeque<(u64, Vec<u32>)>,
    flights: HashMap<u64, Flight>,
    output: u32,
    rng: Rng,
    first_tokens: f64,
}

pub(super) fn config(filters: &[FilterName], scorers: &[ScorerName]) -> SchedulerConfig {
    SchedulerConfig {
        filters: filters.to_vec(),
        scorers: scorers.iter().map(|name| (*name, 1)).collect(),
        args: PluginArgs::default(),
    }
}

/// The requests of a workload, shuffled.
fn requests(load: &Workload, rng: &mut Rng) -> VecDeque<(u64, Vec<u32>)> {
    let mut all: Vec<(u64, Vec<u32>)> = Vec::new();
    for group in 0..load.groups {
        for member in 0..load.per_group {
            let id = group * load.per_group + member;
            let shared = (0..load.shared).map(|at| (group << 13) + at);
            let own = (0..load.own).map(|at| (1 << 31) | ((id << 12) + at));
            all.push((u64::from(id), shared.chain(own).collect()));
        }
    }
    rng.shuffle(&mut all);
    all.into()
}

/// Runs a workload through a scheduler.
pub(super) fn run(config: SchedulerConfig, load: &Workload, seed: u64) -> Result {
    let use_events = config.scores_by(ScorerName::KvcacheAware);
    let mut rng = Rng::with_seed(seed);
    let queue = requests(load, &mut rng);
    let model = StepModel {
        gpu: GpuProfile::by_name("a6000").unwrap(),
        model: ModelProfile::by_name("qwen2.5-7b"),
        tensor_parallel: 1,
        pipeline_parallel: 1,
    };
    let engine = BatchConfig {
        model,
        cache: CacheConfig {
            blocks: load.cache_blocks,
            block_size: BLOCK,
            prefix_caching: true,
            record_events: use_events,
        },
        max_sequences: 256,
        max_batched_tokens: 2048,
        max_model_len: 16_384,
        adapter_slots: 1,
        adapter_load: Duration::ZERO,
    };
    let mut fleet = Fleet {
        scheduling: Scheduling::new(config, seed),
        candidates: candidates(ENGINES),
        engines: (0..ENGINES).map(|_| Engine::new(engine.clone())).collect(),
        steps: (0..ENGINES).map(|_| None).collect(),
        held: Held(vec![HashSet::new(); ENGINES]),
        use_events,
        queue,
        flights: HashMap::new(),
        output: load.output,
        rng,
        first_tokens: 0.0,
    };
    for candidate in &fleet.candidates {
        let tokens = u64::from(load.cache_blocks * BLOCK);
        candidate.endpoint.set_cache_tokens(tokens);
    }
    let total = fleet.queue.len();
    let mut now = Duration::ZERO;
    for _ in 0..load.concurrency {
        fleet.send(now);
    }
    let mut next_scrape = now;
    while !fleet.flights.is_empty() {
        fleet.begin_steps(now);
        let (at, engine) = fleet
            .steps
            .iter()
            .enumerate()
            .filter_map(|(engine, step)| Some((step.as_ref()?.0, engine)))
            .min()
            .expect("requests are in flight, so an engine works");
        while next_scrape <= at {
            fleet.scrape(next_scrape);
            next_scrape += SCRAPE;
        }
        now = at;
        fleet.end_step(engine, now);
    }
    fleet.summary(total, now)
}

impl Fleet {
    fn send(&mut self, now: Duration) {
        let Some((id, prompt)) = self.queue.pop_front() else {
            return;
        };
        let notes = Notes::default();
        let text = TokenText(&prompt);
        let request = RequestFacts {
            prompt: &text,
            prompt_tokens: prompt.len() as u64,
            tokens: self.use_events.then_some(&prompt),
            kv: self.use_events.then_some(&self.held as &dyn KvIndex),
            now,
            ..RequestFacts::new("m", &notes)
        };
        let profile = &self.scheduling.profile;
        let placed = profile.place(&request, &self.candidates, &mut self.rng);
        // Where all engines are full the router would say so; the benchmark's clients come back at once.
        let engine = placed.map_or_else(
            |_| self.rng.usize(..ENGINES),
            |placed| placed[0].position as usize,
        );
        let endpoint = &self.candidates[engine].endpoint;
        let flight = Flight {
            engine,
            dispatch: profile.dispatch(&request, endpoint),
            begun: now,
            _counted: endpoint.begin(),
        };
        self.flights.insert(id, flight);
        let new = NewRequest {
            id,
            prompt,
            output: vec![7; self.output as usize],
            finish: FinishReason::Length,
            adapter: None,
            prefill: Prefill::Local,
            after: After::Free,
            arrived: now,
        };
        self.engines[engine].submit(new).unwrap();
    }

    fn begin_steps(&mut self, now: Duration) {
        for (engine, step) in self.engines.iter_mut().zip(&mut self.steps) {
            if step.is_none()
                && let Step::Ran(outcome) = engine.step(now)
            {
                *step = Some((now + outcome.duration, outcome));
            }
        }
    }

    fn end_step(&mut self, engine: usize, now: Duration) {
        let Some((_, outcome)) = self.steps[engine].take() else {
            return;
        };
        self.held.apply(engine, &outcome.events);
        for new in outcome.emitted.iter().filter(|new| new.first) {
            if let Some(flight) = self.flights.get_mut(&new.id) {
                flight.dispatch.first_token(now);
                self.first_tokens += now.saturating_sub(flight.begun).as_secs_f64();
            }
        }
        for done in &outcome.finished {
            let Some(flight) = self.flights.remove(&done.id) else {
                continue;
            };
            assert_eq!(flight.engine, engine);
            flight.dispatch.complete(Outcome {
                at: now,
                prompt_tokens: Some(u64::from(done.prompt_tokens)),
                cached_tokens: None,
                output_tokens: Some(u64::from(done.output_tokens)),
            });
            self.send(now);
        }
    }

    fn scrape(&mut self, now: Duration) {
        for (candidate, engine) in self.candidates.iter().zip(&self.engines) {
            let load = engine.load();
            candidate.endpoint.set_sample(Sample {
                running: load.running,
                waiting: load.waiting,
                kv_usage: load.cache_usage,
                // The latencies that a scrape would see are those of the whole fleet here: a policy that looks at
                // them alone is not what these runs are about.
                ttft: 0.0,
                tpot: 0.0,
                taken_at: now,
            });
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn summary(&self, total: usize, now: Duration) -> Result {
        let (mut queries, mut hits) = (0, 0);
        for engine in &self.engines {
            queries += engine.totals().cache_queries;
            hits += engine.totals().cache_hits;
        }
        let (mut error, mut outcome) = (0.0, 0.0);
        self.scheduling.profile.figures(&mut |figure| match figure {
            kthena_router_scheduler::Figure::EstimateErrorSeconds(sum) => error = sum,
            kthena_router_scheduler::Figure::EstimateOutcomeSeconds(sum) => outcome = sum,
            _ => {}
        });
        Result {
            requests_per_second: total as f64 / now.as_secs_f64(),
            first_token: self.first_tokens / total as f64,
            cached_share: hits as f64 / queries as f64,
            error: if outcome > 0.0 { error / outcome } else { 0.0 },
        }
    }
}
