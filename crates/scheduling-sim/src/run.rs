//! One policy under one workload.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kthena_engine_sim::batch::{After, BatchConfig, FinishReason, Finished, NewRequest, Prefill};
use kthena_engine_sim::kv_cache::CacheConfig;
use kthena_engine_sim::model::{GpuProfile, ModelProfile, StepModel};
use kthena_kv_events::index::CacheIndex;
use kthena_router_plugins::Scheduling;
use kthena_router_plugins::config::ScorerName;
use kthena_router_scheduler::{
    Dispatch, InFlight, KvIndex, ModelSet, Notes, Outcome, RequestFacts,
};
use serde::Serialize;

use crate::fleet::{ById, Next, Node, nodes};
use crate::policy::Policy;
use crate::tokens::{AsText, append, stream};
use crate::workload::{Session, Workload};

/// How often the router measures its engines.
const SCRAPE: Duration = Duration::from_secs(1);
/// Adapters that an engine has active at a time.
const ADAPTER_SLOTS: u32 = 8;

/// The engines.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetConfig {
    /// How many.
    pub engines: u32,
    /// The card of each.
    pub gpu: GpuProfile,
    /// What they serve.
    pub model: ModelProfile,
    /// Tokens of a cache block.
    pub block_size: u32,
    /// Share of the card's memory that an engine uses.
    pub memory_utilization: f64,
}

impl FleetConfig {
    /// The fleet of the published benchmark: three cards of 48 GB with a model of 7 billion
    /// parameters each, blocks of 128 tokens. Nothing if the names are unknown.
    pub fn published(gpu: &str, model: &str) -> Option<Self> {
        Some(Self {
            engines: 3,
            gpu: GpuProfile::by_name(gpu)?,
            model: ModelProfile::by_name(model),
            block_size: 128,
            memory_utilization: 0.9,
        })
    }

    /// What one engine runs with; vLLM's defaults for such a card.
    pub fn engine(&self, record_events: bool) -> BatchConfig {
        let model = StepModel {
            gpu: self.gpu,
            model: self.model,
            tensor_parallel: 1,
            pipeline_parallel: 1,
        };
        let blocks = model.cache_blocks(self.memory_utilization, self.block_size);
        BatchConfig {
            model,
            cache: CacheConfig {
                blocks: blocks as u32,
                block_size: self.block_size,
                prefix_caching: true,
                record_events,
            },
            max_sequences: 256,
            max_batched_tokens: 2048,
            max_model_len: 32_768,
            adapter_slots: ADAPTER_SLOTS,
            adapter_load: Duration::from_millis(150),
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The workload's name.
    pub workload: String,
    /// The policy's name.
    pub policy: String,
    /// What chance was seeded with.
    pub seed: u64,
    /// Requests answered, by the time from the first request to the last answer.
    pub requests_per_second: f64,
    /// Mean time to the first token.
    pub ttft_seconds_mean: f64,
    /// Mean time to the last token.
    pub latency_seconds_mean: f64,
    /// Share of requests that were answered, 0 to 1.
    pub success_rate: f64,
    /// Share of all prompt tokens that came from a cache, 0 to 1.
    pub cache_hit_ratio: f64,
}

/// Runs `workload` on a fresh fleet. `progress` hears of the share of requests that are done.
pub fn run(
    fleet: &FleetConfig,
    policy: &Policy,
    workload: &Workload,
    seed: u64,
    progress: &mut dyn FnMut(f64),
) -> Row {
    let mut simulation = Simulation::new(fleet, policy, workload, seed);
    simulation.start();
    let total = workload.requests().max(1);
    let mut shown = 0;
    while let Some(Reverse((now, _, event))) = simulation.events.pop() {
        simulation.now = now;
        simulation.happen(event);
        let done = simulation.sums.answered + simulation.sums.failed;
        if done > shown + total / 50 {
            shown = done;
            progress(done as f64 / total as f64);
        }
        if simulation.open == 0 && simulation.next_session == workload.sessions.len() {
            break;
        }
    }
    simulation.row(policy, seed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    StepEnds(u32),
    Ready(u32),
    /// A session's next turn.
    Turn(u32),
    Scrape,
}

/// A session that has begun.
struct Talk {
    turn: usize,
    /// All that was said.
    tokens: Vec<u32>,
}

/// A request on its way.
struct Flight {
    session: u32,
    sent: Duration,
    dispatch: Dispatch,
    _counted: InFlight,
}

#[derive(Debug, Default)]
struct Sums {
    answered: usize,
    failed: usize,
    first_token: f64,
    latency: f64,
    prompt_tokens: u64,
    cached_tokens: u64,
    last_answer: Duration,
}

struct Simulation<'a> {
    workload: &'a Workload,
    scheduling: Scheduling,
    nodes: Vec<Node>,
    index: Arc<CacheIndex>,
    /// Whether the router has tokens and index.
    knows_blocks: bool,
    rng: Rng,
    seed: u64,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    /// Keeps events of one moment in the order they were made.
    made: u64,
    talks: ById<Talk>,
    flights: ById<Flight>,
    next_session: usize,
    open: usize,
    next_request: u64,
    sums: Sums,
}

impl<'a> Simulation<'a> {
    fn new(fleet: &FleetConfig, policy: &Policy, workload: &'a Workload, seed: u64) -> Self {
        let knows_blocks = policy.config.scores_by(ScorerName::KvcacheAware)
            || policy.config.scores_by(ScorerName::Adaptive);
        let names = (0..workload.adapters).map(adapter_name);
        let models = ModelSet::new(names.chain(["model".to_owned()]));
        let config = fleet.engine(knows_blocks);
        let (nodes, index) = nodes(fleet.engines, &config, &models, seed);
        Self {
            workload,
            scheduling: Scheduling::new(policy.config.clone(), seed),
            nodes,
            index,
            knows_blocks,
            rng: Rng::with_seed(seed),
            seed,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            made: 0,
            talks: ById::default(),
            flights: ById::default(),
            next_session: 0,
            open: 0,
            next_request: 0,
            sums: Sums::default(),
        }
    }

    fn start(&mut self) {
        self.at(Duration::ZERO, Event::Scrape);
        let places = self.workload.concurrency.unwrap_or(usize::MAX);
        while self.next_session < self.workload.sessions.len().min(places) {
            self.open_session();
        }
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.made += 1;
        self.events.push(Reverse((time, self.made, event)));
    }

    fn open_session(&mut self) {
        let number = self.next_session as u32;
        let Some(session) = self.workload.sessions.get(self.next_session) else {
            return;
        };
        self.next_session += 1;
        self.open += 1;
        let mut tokens = Vec::new();
        if let Some(shared) = session.shared {
            append(
                &mut tokens,
                stream(1, self.seed, shared.group.into()),
                shared.tokens,
            );
        }
        self.talks
            .insert(u64::from(number), Talk { turn: 0, tokens });
        let first = session
            .turns
            .first()
            .map_or(Duration::ZERO, |turn| turn.pause);
        // The pause before a first turn spreads sessions that start together.
        self.at(session.start.max(self.now) + first, Event::Turn(number));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::StepEnds(node) => {
                self.end_step(node);
                self.begin(node);
            }
            Event::Ready(node) => self.begin(node),
            Event::Turn(session) => self.send(session),
            Event::Scrape => {
                for node in &mut self.nodes {
                    node.measure(self.now);
                }
                self.scheduling.profile.sweep();
                self.at(self.now + SCRAPE, Event::Scrape);
            }
        }
    }

    fn begin(&mut self, node: u32) {
        match self.nodes[node as usize].begin(self.now) {
            Next::StepEnds(end) => self.at(end, Event::StepEnds(node)),
            Next::Ready(time) => self.at(time, Event::Ready(node)),
            Next::Nothing => {}
        }
    }

    /// Sends a session's next turn.
    fn send(&mut self, number: u32) {
        let session = &self.workload.sessions[number as usize];
        let Some(talk) = self.talks.get_mut(&u64::from(number)) else {
            return;
        };
        let turn = session.turns[talk.turn];
        let own = stream(2, self.seed ^ u64::from(number), talk.turn as u64);
        append(&mut talk.tokens, own, turn.own);
        let prompt = talk.tokens.clone();
        self.next_request += 1;
        let id = self.next_request;
        let adapter = session.adapter.map(adapter_name);
        let Some(node) = self.place(id, number, &prompt, adapter.as_deref()) else {
            self.sums.failed += 1;
            return self.close_session(number);
        };
        let mut output = Vec::new();
        append(&mut output, own.wrapping_add(1), turn.output);
        let new = NewRequest {
            id,
            prompt,
            output,
            finish: FinishReason::Length,
            adapter: adapter.map(Arc::from),
            prefill: Prefill::Local,
            after: After::Free,
            arrived: self.now,
        };
        if self.nodes[node as usize].engine.submit(new).is_err() {
            if let Some(flight) = self.flights.remove(&id) {
                flight.dispatch.fail();
            }
            self.sums.failed += 1;
            return self.close_session(number);
        }
        self.begin(node);
    }

    /// Asks the scheduler for an engine and counts the request there.
    fn place(
        &mut self,
        id: u64,
        session: u32,
        prompt: &[u32],
        adapter: Option<&str>,
    ) -> Option<u32> {
        let notes = Notes::default();
        let text = AsText(prompt);
        let name = session.to_string();
        let request = RequestFacts {
            served_model: adapter.unwrap_or("model"),
            adapter: adapter.is_some(),
            prompt: &text,
            prompt_tokens: prompt.len() as u64,
            tokens: self.knows_blocks.then_some(prompt),
            kv: self.knows_blocks.then_some(&*self.index as &dyn KvIndex),
            session: Some(&name),
            now: self.now,
            ..RequestFacts::new(adapter.unwrap_or("model"), &notes)
        };
        let profile = &self.scheduling.profile;
        let candidates = self.nodes.iter().map(|node| &node.candidate);
        let placement = profile.place(&request, candidates, &mut self.rng).ok()?;
        let position = placement.first()?.position;
        let endpoint = &self.nodes[position as usize].candidate.endpoint;
        let flight = Flight {
            session,
            sent: self.now,
            dispatch: profile.dispatch(&request, endpoint),
            _counted: endpoint.begin(),
        };
        self.flights.insert(id, flight);
        Some(position)
    }

    fn end_step(&mut self, node: u32) {
        let Some(outcome) = self.nodes[node as usize].end() else {
            return;
        };
        for new in outcome.emitted {
            if let Some(flight) = self.flights.get_mut(&new.id) {
                if new.first {
                    flight.dispatch.first_token(self.now);
                    self.sums.first_token += self.now.saturating_sub(flight.sent).as_secs_f64();
                }
                if let Some(talk) = self.talks.get_mut(&u64::from(flight.session)) {
                    talk.tokens.push(new.token);
                }
            }
        }
        for done in &outcome.finished {
            self.answered(done);
        }
    }

    fn answered(&mut self, done: &Finished) {
        let Some(flight) = self.flights.remove(&done.id) else {
            return;
        };
        self.sums.answered += 1;
        self.sums.latency += self.now.saturating_sub(flight.sent).as_secs_f64();
        self.sums.prompt_tokens += u64::from(done.prompt_tokens);
        self.sums.cached_tokens += u64::from(done.cached_tokens);
        self.sums.last_answer = self.now;
        flight.dispatch.complete(Outcome {
            at: self.now,
            prompt_tokens: Some(done.prompt_tokens.into()),
            cached_tokens: Some(done.cached_tokens.into()),
            output_tokens: Some(done.output_tokens.into()),
        });
        let session: &Session = &self.workload.sessions[flight.session as usize];
        let Some(talk) = self.talks.get_mut(&u64::from(flight.session)) else {
            return;
        };
        talk.turn += 1;
        match session.turns.get(talk.turn) {
            Some(turn) => self.at(self.now + turn.pause, Event::Turn(flight.session)),
            None => self.close_session(flight.session),
        }
    }

    fn close_session(&mut self, number: u32) {
        self.talks.remove(&u64::from(number));
        self.open -= 1;
        if self.workload.concurrency.is_some() {
            self.open_session();
        }
    }

    fn row(&self, policy: &Policy, seed: u64) -> Row {
        let sums = &self.sums;
        let answered = sums.answered.max(1) as f64;
        let asked = (sums.answered + sums.failed).max(1) as f64;
        let seconds = sums.last_answer.as_secs_f64().max(f64::MIN_POSITIVE);
        Row {
            workload: self.workload.name.clone(),
            policy: policy.name.clone(),
            seed,
            requests_per_second: sums.answered as f64 / seconds,
            ttft_seconds_mean: sums.first_token / answered,
            latency_seconds_mean: sums.latency / answered,
            success_rate: sums.answered as f64 / asked,
            cache_hit_ratio: sums.cached_tokens as f64 / (sums.prompt_tokens.max(1)) as f64,
        }
    }
}

fn adapter_name(number: u32) -> String {
    format!("adapter-{number}")
}
