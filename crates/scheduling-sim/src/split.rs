//! Whole engines against pairs: the same number of cards, with and without prefill and decode apart.
//!
//! Whole engines stop generating for everyone while they compute a long prompt. Apart, prompts and
//! answers do not meet, for the price of moving the prompt's blocks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use fastrand::Rng;
use kthena_engine_sim::batch::{After, FinishReason, NewRequest, Prefill, StepOutcome};
use kthena_router_plugins::Scheduling;
use kthena_router_scheduler::{InFlight, ModelSet, Notes, RequestFacts, Role};

use crate::fleet::{ById, Next, Node, nodes};
use crate::policy::Policy;
use crate::run::FleetConfig;
use crate::tokens::{AsText, append, stream};

/// How the cards are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Every engine does all of a request.
    Whole,
    /// So many engines compute prompts, the others answers.
    Apart {
        /// Engines that compute prompts.
        prefill: u32,
    },
}

/// An open load of requests with long prompts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LongPrompts {
    /// Requests in all.
    pub requests: u32,
    /// Requests per second; they come at random.
    pub rate: f64,
    /// Tokens of a prompt.
    pub prompt: u32,
    /// Tokens of an answer.
    pub output: u32,
}

/// What a layout came to; seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Mean time between two tokens of an answer.
    pub token_mean: f64,
    /// The time between two tokens that 1 % exceed.
    pub token_p99: f64,
    /// Mean time to the first token.
    pub first_mean: f64,
    /// The time to the first token that 1 % exceed.
    pub first_p99: f64,
    /// Requests answered.
    pub answered: usize,
}

/// Runs the load on `fleet`. Blocks move at `bandwidth` bytes per second into each engine.
pub fn run(
    fleet: &FleetConfig,
    policy: &Policy,
    layout: Layout,
    load: LongPrompts,
    bandwidth: f64,
    seed: u64,
) -> Outcome {
    let mut simulation = Simulation::new(fleet, policy, layout, load, bandwidth, seed);
    while let Some(Reverse((now, _, event))) = simulation.events.pop() {
        simulation.now = now;
        simulation.happen(event);
        if simulation.answered == load.requests as usize {
            break;
        }
    }
    simulation.outcome()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    StepEnds(u32),
    Ready(u32),
    Arrives(u64),
    /// A prompt's blocks have left its prefill engine.
    Moved {
        node: u32,
        request: u64,
    },
    Scrape,
}

struct Flight {
    sent: Duration,
    last_token: Option<Duration>,
    /// The decode engine that was chosen with the prefill engine, and what counts there.
    decode: Option<u32>,
    counted: Vec<InFlight>,
    prompt: Vec<u32>,
}

struct Simulation {
    policy: Scheduling,
    nodes: Vec<Node>,
    prefill: u32,
    load: LongPrompts,
    bandwidth: f64,
    rng: Rng,
    seed: u64,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    made: u64,
    flights: ById<Flight>,
    /// When the link into each engine is free.
    links: Vec<Duration>,
    gaps: Vec<f64>,
    first: Vec<f64>,
    answered: usize,
}

impl Simulation {
    fn new(
        fleet: &FleetConfig,
        policy: &Policy,
        layout: Layout,
        load: LongPrompts,
        bandwidth: f64,
        seed: u64,
    ) -> Self {
        let models = ModelSet::new(["model"]);
        let (nodes, _) = nodes(fleet.engines, &fleet.engine(false), &models, seed);
        let mut simulation = Self {
            policy: Scheduling::new(policy.config.clone(), seed),
            links: vec![Duration::ZERO; nodes.len()],
            nodes,
            prefill: match layout {
                Layout::Whole => 0,
                Layout::Apart { prefill } => prefill,
            },
            load,
            bandwidth,
            rng: Rng::with_seed(seed),
            seed,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            made: 0,
            flights: ById::default(),
            gaps: Vec::new(),
            first: Vec::new(),
            answered: 0,
        };
        simulation.at(Duration::ZERO, Event::Scrape);
        let mut time = 0.0;
        for request in 0..u64::from(load.requests) {
            // Gaps of a Poisson process.
            time -= (1.0 - simulation.rng.f64()).ln() / load.rate;
            simulation.at(Duration::from_secs_f64(time), Event::Arrives(request));
        }
        simulation
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.made += 1;
        self.events.push(Reverse((time, self.made, event)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::StepEnds(node) => {
                if let Some(outcome) = self.nodes[node as usize].end() {
                    self.pass_on(node, &outcome);
                }
                self.begin(node);
            }
            Event::Ready(node) => self.begin(node),
            Event::Arrives(request) => self.arrive(request),
            Event::Moved { node, request } => {
                self.nodes[node as usize].engine.release(request);
                self.begin(node);
            }
            Event::Scrape => {
                for node in &mut self.nodes {
                    node.measure(self.now);
                }
                self.at(self.now + Duration::from_secs(1), Event::Scrape);
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

    /// The best of `among` for a request, counted there.
    fn place(
        &mut self,
        prompt: &[u32],
        role: Role,
        among: std::ops::Range<u32>,
    ) -> (u32, InFlight) {
        let notes = Notes::default();
        let text = AsText(prompt);
        let request = RequestFacts {
            prompt: &text,
            prompt_tokens: prompt.len() as u64,
            role,
            now: self.now,
            ..RequestFacts::new("model", &notes)
        };
        let range = among.start as usize..among.end as usize;
        let candidates = self.nodes[range].iter().map(|node| &node.candidate);
        let placement = self
            .policy
            .profile
            .place(&request, candidates, &mut self.rng);
        let best = placement
            .ok()
            .and_then(|placement| Some(placement.first()?.position));
        let node = among.start + best.unwrap_or_default();
        (node, self.nodes[node as usize].candidate.endpoint.begin())
    }

    fn arrive(&mut self, id: u64) {
        let mut prompt = Vec::new();
        append(&mut prompt, stream(3, self.seed, id), self.load.prompt);
        let engines = self.nodes.len() as u32;
        let mut flight = Flight {
            sent: self.now,
            last_token: None,
            decode: None,
            counted: Vec::new(),
            prompt: Vec::new(),
        };
        let (node, tokens, after) = if self.prefill == 0 {
            let (node, counted) = self.place(&prompt, Role::Whole, 0..engines);
            flight.counted.push(counted);
            (node, self.load.output, After::Free)
        } else {
            let (decode, at_decode) = self.place(&prompt, Role::Decode, self.prefill..engines);
            let (node, counted) = self.place(&prompt, Role::Prefill, 0..self.prefill);
            flight.decode = Some(decode);
            // The first to be given back is the prefill engine's.
            flight.counted.extend([at_decode, counted]);
            flight.prompt.clone_from(&prompt);
            (node, 1, After::Keep)
        };
        self.flights.insert(id, flight);
        self.submit(node, id, prompt, tokens, after, Prefill::Local);
    }

    fn submit(
        &mut self,
        node: u32,
        id: u64,
        prompt: Vec<u32>,
        tokens: u32,
        after: After,
        prefill: Prefill,
    ) {
        let new = NewRequest {
            id,
            prompt,
            output: vec![1; tokens as usize],
            finish: FinishReason::Length,
            adapter: None,
            prefill,
            after,
            arrived: self.now,
        };
        if self.nodes[node as usize].engine.submit(new).is_err() {
            // Too long for the engine: it does not count as answered.
            self.flights.remove(&id);
        }
        self.begin(node);
    }

    fn pass_on(&mut self, node: u32, outcome: &StepOutcome) {
        let prefills = node < self.prefill;
        for new in outcome.emitted.iter().filter(|_| !prefills) {
            let Some(flight) = self.flights.get_mut(&new.id) else {
                continue;
            };
            match flight.last_token.replace(self.now) {
                Some(before) => self
                    .gaps
                    .push(self.now.saturating_sub(before).as_secs_f64()),
                None => self
                    .first
                    .push(self.now.saturating_sub(flight.sent).as_secs_f64()),
            }
        }
        for done in &outcome.finished {
            if prefills {
                self.hand_over(node, done.id);
            } else if self.flights.remove(&done.id).is_some() {
                self.answered += 1;
            }
        }
    }

    /// The prompt is computed: its blocks go to the decode engine, which then answers.
    fn hand_over(&mut self, from: u32, id: u64) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        let Some(to) = flight.decode else { return };
        flight.counted.pop();
        let prompt = std::mem::take(&mut flight.prompt);
        let node = &self.nodes[to as usize].engine;
        let missing = (prompt.len() as u64).saturating_sub(node.cached_tokens(&prompt, None));
        let length = node.config().model.transfer(missing, self.bandwidth);
        let link = &mut self.links[to as usize];
        *link = (*link).max(self.now) + length;
        let ready_at = *link;
        self.at(
            ready_at,
            Event::Moved {
                node: from,
                request: id,
            },
        );
        let output = self.load.output;
        let prefill = Prefill::Remote { ready_at };
        self.submit(to, id, prompt, output, After::Free, prefill);
    }

    fn outcome(mut self) -> Outcome {
        self.gaps.sort_by(f64::total_cmp);
        self.first.sort_by(f64::total_cmp);
        Outcome {
            token_mean: mean(&self.gaps),
            token_p99: high(&self.gaps),
            first_mean: mean(&self.first),
            first_p99: high(&self.first),
            answered: self.answered,
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The value that 1 % of the sorted `values` exceed.
fn high(values: &[f64]) -> f64 {
    let at = values.len() * 99 / 100;
    values.get(at).or(values.last()).copied().unwrap_or(0.0)
}
