//! Whole engines against pairs: the same number of cards, with and without prefill and decode apart.
//!
//! Whole engines stop generating for everyone while they compute a long prompt. Apart, prompts and
//! answers do not meet, for the price of moving the prompt's blocks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use kthena_engine_sim::batch::{After, FinishReason, Finished, NewRequest, Prefill, StepOutcome};
use kthena_router_scheduler::{ModelSet, Outcome as Answered, Role};

use crate::fleet::{ById, Next, Node};
use crate::policy::Policy;
use crate::router::{Ask, Router, Sent};
use crate::setting::FleetConfig;
use crate::tokens::{append, stream};

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
    begun: Duration,
    last_token: Option<Duration>,
    /// What the router keeps for each engine that has a part in it; the one that works now is the last.
    sent: Vec<(u32, Role, Sent)>,
    prompt: Vec<u32>,
}

struct Simulation {
    router: Router,
    nodes: Vec<Node>,
    prefill: u32,
    scrape: Duration,
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
        let engine = fleet.engine(false);
        let nodes: Vec<Node> = (0..fleet.engines).map(|_| Node::new(&engine)).collect();
        let mut simulation = Self {
            router: Router::new(fleet, policy, &models, seed),
            links: vec![Duration::ZERO; nodes.len()],
            nodes,
            prefill: match layout {
                Layout::Whole => 0,
                Layout::Apart { prefill } => prefill,
            },
            scrape: fleet.scrape,
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
                for (number, node) in self.nodes.iter_mut().enumerate() {
                    let sample = node.measure(self.now);
                    self.router.measured(number as u32, sample);
                }
                self.at(self.now + self.scrape, Event::Scrape);
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

    /// The best of `among` for a request, noted there.
    fn place(&mut self, prompt: &[u32], role: Role, among: Range<u32>) -> (u32, Role, Sent) {
        let ask = ask(prompt, role, self.now);
        let best = self.router.place(&ask, among.clone(), &mut self.rng);
        let engine = best.unwrap_or(among.start);
        (engine, role, self.router.sent(&ask, engine))
    }

    fn arrive(&mut self, id: u64) {
        let mut prompt = Vec::new();
        append(&mut prompt, stream(3, self.seed, id), self.load.prompt);
        let engines = self.nodes.len() as u32;
        let mut flight = Flight {
            begun: self.now,
            last_token: None,
            sent: Vec::new(),
            prompt: prompt.clone(),
        };
        let (tokens, after) = if self.prefill == 0 {
            let whole = self.place(&prompt, Role::Whole, 0..engines);
            flight.sent.push(whole);
            (self.load.output, After::Free)
        } else {
            let decode = self.place(&prompt, Role::Decode, self.prefill..engines);
            let prefill = self.place(&prompt, Role::Prefill, 0..self.prefill);
            flight.sent.extend([decode, prefill]);
            (1, After::Keep)
        };
        let node = flight.sent.last().map_or(0, |(engine, ..)| *engine);
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
        for new in &outcome.emitted {
            let Some(flight) = self.flights.get_mut(&new.id) else {
                continue;
            };
            if new.first
                && let Some((.., sent)) = flight.sent.last_mut()
            {
                sent.first_token(self.now);
            }
            if prefills {
                continue;
            }
            match flight.last_token.replace(self.now) {
                Some(before) => self
                    .gaps
                    .push(self.now.saturating_sub(before).as_secs_f64()),
                None => self
                    .first
                    .push(self.now.saturating_sub(flight.begun).as_secs_f64()),
            }
        }
        for done in &outcome.finished {
            self.note_end(done);
            if prefills {
                self.hand_over(node, done.id);
            } else if self.flights.remove(&done.id).is_some() {
                self.answered += 1;
            }
        }
    }

    /// The engine that worked last has done its part.
    fn note_end(&mut self, done: &Finished) {
        let Some(flight) = self.flights.get_mut(&done.id) else {
            return;
        };
        let Some((engine, role, sent)) = flight.sent.pop() else {
            return;
        };
        let outcome = Answered {
            at: self.now,
            prompt_tokens: Some(done.prompt_tokens.into()),
            cached_tokens: Some(done.cached_tokens.into()),
            output_tokens: Some(done.output_tokens.into()),
        };
        let ask = ask(&flight.prompt, role, self.now);
        self.router.answered(sent, &ask, engine, outcome);
    }

    /// The prompt is computed: its blocks go to the decode engine, which then answers.
    fn hand_over(&mut self, from: u32, id: u64) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        let Some((to, ..)) = flight.sent.last() else {
            return;
        };
        let to = *to;
        let prompt = flight.prompt.clone();
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

fn ask(prompt: &[u32], role: Role, now: Duration) -> Ask<'_> {
    Ask {
        prompt,
        adapter: None,
        session: 0,
        role,
        now,
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
