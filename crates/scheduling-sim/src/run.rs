//! One policy under one workload.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kthena_engine_sim::batch::{After, FinishReason, Finished, NewRequest, Prefill};
use kthena_router_filters::queue::Permit;
use kthena_router_scheduler::{ModelSet, Outcome, Role};

pub use crate::figures::{Figures, Row};
use crate::fleet::{ById, Next, Node};
use crate::policy::Policy;
use crate::queue::{Line, Turned};
use crate::router::{Ask, Router, Sent};
use crate::setting::{EventsAt, FleetConfig};
use crate::tokens::{append, stream};
use crate::workload::{Session, Workload};

/// How long a user's requests waited in the router's queue.
#[derive(Debug, Clone, PartialEq)]
pub struct UserWaits {
    /// The user, by number; 0 is the greedy one.
    pub user: u32,
    /// Requests that were let in.
    pub requests: u32,
    /// Mean, seconds.
    pub mean: f64,
    /// Longest, seconds.
    pub longest: f64,
}

/// All that is known of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its figures.
    pub row: Row,
    /// Waits by user; empty without a queue.
    pub waits: Vec<UserWaits>,
}

/// Runs `workload` on a fresh fleet. `progress` hears of the share of requests that are done.
pub fn run(
    fleet: &FleetConfig,
    policy: &Policy,
    workload: &Workload,
    seed: u64,
    progress: &mut dyn FnMut(f64),
) -> Report {
    let mut simulation = Simulation::new(fleet, policy, workload, seed);
    simulation.start();
    let total = workload.requests().max(1);
    let mut shown = 0;
    while let Some(Reverse((now, _, event))) = simulation.events.pop() {
        simulation.now = now;
        simulation.happen(event);
        let done = simulation.sums.ended();
        if done > shown + total / 50 {
            shown = done;
            progress(done as f64 / total as f64);
        }
        if simulation.open == 0 && simulation.next_session == workload.sessions.len() {
            break;
        }
    }
    Report {
        row: simulation.sums.row(&workload.name, &policy.name, seed),
        waits: simulation.waits.into_values().collect(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    StepEnds(u32),
    Ready(u32),
    /// A session's next turn.
    Turn(u32),
    /// The queue in front has to be looked at.
    QueueDue,
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
    begun: Duration,
    first: Option<Duration>,
    router: usize,
    engine: u32,
    sent: Sent,
    permit: Option<Permit>,
    /// Tokens of its prompt, the first of its session.
    prompt: usize,
}

struct Simulation<'a> {
    workload: &'a Workload,
    fleet: &'a FleetConfig,
    routers: Vec<Router>,
    line: Option<Line>,
    queue_due: Option<Duration>,
    waits: BTreeMap<u32, UserWaits>,
    nodes: Vec<Node>,
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
    sums: Figures,
}

impl<'a> Simulation<'a> {
    fn new(fleet: &'a FleetConfig, policy: &Policy, workload: &'a Workload, seed: u64) -> Self {
        let names = (0..workload.adapters).map(adapter_name);
        let models = ModelSet::new(names.chain(["model".to_owned()]));
        let mut policy = policy.clone();
        policy.config.filters.clone_from(&workload.filters);
        let config = fleet.engine(policy.reads_caches());
        let routers = 0..u64::from(fleet.routers.max(1));
        let router = |number| Router::new(fleet, &policy, &models, seed ^ (number << 32));
        Self {
            workload,
            fleet,
            routers: routers.map(router).collect(),
            line: workload.queue.clone().map(Line::new),
            queue_due: None,
            waits: BTreeMap::new(),
            nodes: (0..fleet.engines).map(|_| Node::new(&config)).collect(),
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
            sums: Figures::default(),
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
                self.tell(node);
                self.end_step(node);
                self.begin(node);
            }
            Event::Ready(node) => self.begin(node),
            Event::Turn(session) => self.arrive(session),
            Event::QueueDue => self.let_in(),
            Event::Scrape => self.scrape(),
        }
    }

    fn scrape(&mut self) {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let sample = node.measure(self.now);
            for router in &mut self.routers {
                router.measured(number as u32, sample);
            }
        }
        for router in &self.routers {
            router.sweep();
        }
        self.at(self.now + self.fleet.scrape, Event::Scrape);
    }

    fn begin(&mut self, node: u32) {
        match self.nodes[node as usize].begin(self.now) {
            Next::StepEnds(end) => {
                if self.fleet.events_at == EventsAt::StepBegins {
                    self.tell(node);
                }
                self.at(end, Event::StepEnds(node));
            }
            Next::Ready(time) => self.at(time, Event::Ready(node)),
            Next::Nothing => {}
        }
    }

    /// Routers hear what a step changes in an engine's cache.
    fn tell(&mut self, node: u32) {
        let changes = self.nodes[node as usize].changes();
        if !changes.is_empty() {
            for router in &mut self.routers {
                router.told(node, &changes);
            }
        }
    }

    /// A session's next turn is here.
    fn arrive(&mut self, number: u32) {
        let Some(line) = &mut self.line else {
            return self.send(number, None);
        };
        let session = &self.workload.sessions[number as usize];
        let Some(talk) = self.talks.get(&u64::from(number)) else {
            return;
        };
        let tokens = talk.tokens.len() as u32 + session.turns[talk.turn].own;
        if line.enter(number, session.user, tokens, self.now) {
            self.let_in();
        } else {
            self.sums.failed();
            self.close_session(number);
        }
    }

    /// Those whose turn it is leave the queue.
    fn let_in(&mut self) {
        let Some(line) = &mut self.line else { return };
        let (turned, due) = line.turned(self.now);
        if due != self.queue_due
            && let Some(due) = due
        {
            self.at(due, Event::QueueDue);
        }
        self.queue_due = due;
        for Turned {
            session,
            waited,
            permit,
        } in turned
        {
            if permit.is_none() {
                self.sums.failed();
                self.close_session(session);
                continue;
            }
            let user = self.workload.sessions[session as usize].user;
            self.note_wait(user, waited.as_secs_f64());
            self.send(session, permit);
        }
    }

    fn note_wait(&mut self, user: u32, seconds: f64) {
        let waits = self.waits.entry(user).or_insert(UserWaits {
            user,
            requests: 0,
            mean: 0.0,
            longest: 0.0,
        });
        waits.requests += 1;
        waits.mean += (seconds - waits.mean) / f64::from(waits.requests);
        waits.longest = waits.longest.max(seconds);
    }

    /// Sends a session's next turn.
    fn send(&mut self, number: u32, permit: Option<Permit>) {
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
        let Some(engine) = self.place(id, number, &prompt, adapter.as_deref()) else {
            self.sums.failed();
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
        if self.nodes[engine as usize].engine.submit(new).is_err() {
            if let Some(flight) = self.flights.remove(&id) {
                flight.sent.fail();
            }
            self.sums.failed();
            return self.close_session(number);
        }
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.permit = permit;
        }
        self.begin(engine);
    }

    /// Asks a router for an engine and counts the request there.
    fn place(
        &mut self,
        id: u64,
        session: u32,
        prompt: &[u32],
        adapter: Option<&str>,
    ) -> Option<u32> {
        let ask = Ask {
            prompt,
            adapter,
            session,
            role: Role::Whole,
            now: self.now,
        };
        let router = id as usize % self.routers.len();
        let engines = 0..self.nodes.len() as u32;
        let engine = self.routers[router].place(&ask, engines, &mut self.rng)?;
        let flight = Flight {
            session,
            begun: self.now,
            first: None,
            router,
            engine,
            sent: self.routers[router].sent(&ask, engine),
            permit: None,
            prompt: prompt.len(),
        };
        self.flights.insert(id, flight);
        Some(engine)
    }

    fn end_step(&mut self, node: u32) {
        let Some(outcome) = self.nodes[node as usize].end() else {
            return;
        };
        for new in outcome.emitted {
            if let Some(flight) = self.flights.get_mut(&new.id) {
                if new.first {
                    flight.sent.first_token(self.now);
                    flight.first = Some(self.now);
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
        let first = flight.first.unwrap_or(self.now);
        let [first, latency] = [first, self.now].map(|at| at.saturating_sub(flight.begun));
        self.sums.answered(self.now, first, latency);
        self.sums
            .prompt(done.prompt_tokens.into(), done.cached_tokens.into());
        let session: &Session = &self.workload.sessions[flight.session as usize];
        let Some(talk) = self.talks.get_mut(&u64::from(flight.session)) else {
            return;
        };
        let adapter = session.adapter.map(adapter_name);
        let ask = Ask {
            prompt: &talk.tokens[..flight.prompt],
            adapter: adapter.as_deref(),
            session: flight.session,
            role: Role::Whole,
            now: self.now,
        };
        let outcome = Outcome {
            at: self.now,
            prompt_tokens: Some(done.prompt_tokens.into()),
            cached_tokens: Some(done.cached_tokens.into()),
            output_tokens: Some(done.output_tokens.into()),
        };
        let router = &self.routers[flight.router];
        router.answered(flight.sent, &ask, flight.engine, outcome);
        talk.turn += 1;
        if let Some(line) = &self.line {
            line.consumed(
                session.user,
                done.prompt_tokens,
                done.output_tokens,
                self.now,
            );
        }
        if let Some(permit) = flight.permit {
            permit.complete();
        }
        match session.turns.get(talk.turn) {
            Some(turn) => self.at(self.now + turn.pause, Event::Turn(flight.session)),
            None => self.close_session(flight.session),
        }
        self.let_in();
    }

    fn close_session(&mut self, number: u32) {
        self.talks.remove(&u64::from(number));
        self.open -= 1;
        if self.workload.concurrency.is_some() {
            self.open_session();
        }
    }
}

/// The name of an adapter.
pub fn adapter_name(number: u32) -> String {
    format!("adapter-{number}")
}

/// The name of the model or adapter that a session asks for.
pub fn session_name(session: &Session) -> String {
    session
        .adapter
        .map_or_else(|| "model".to_owned(), adapter_name)
}
