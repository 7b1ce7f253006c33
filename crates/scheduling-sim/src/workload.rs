//! Who asks for what, and when.
//!
//! Everything is a session of one or more turns. A turn's prompt is what the session's group shares,
//! all that was said in the session before, and the turn's own words.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use fastrand::Rng;
use kthena_router_filters::settings::{FairnessConfig, Pace, QueueConfig};
use kthena_router_plugins::config::FilterName;

/// What a session's prompts begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// Sessions of the same group share it.
    pub group: u32,
    /// Its length, tokens.
    pub tokens: u32,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Time since the answer before.
    pub pause: Duration,
    /// New tokens of the prompt.
    pub own: u32,
    /// Tokens of the answer.
    pub output: u32,
}

/// Requests that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// When it may start; sessions of a closed loop wait for a free place as well.
    pub start: Duration,
    /// How its prompts begin.
    pub shared: Option<Shared>,
    /// The adapter it asks for, by number.
    pub adapter: Option<u32>,
    /// Who asks, by number.
    pub user: u32,
    /// At least one.
    pub turns: Vec<Turn>,
}

/// A load to put on a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Its name in reports.
    pub name: String,
    /// What it is, in a sentence.
    pub about: String,
    /// Sessions in the order they start.
    pub sessions: Vec<Session>,
    /// Sessions at a time; none sets them off by their start times alone.
    pub concurrency: Option<usize>,
    /// Adapters that sessions use.
    pub adapters: u32,
    /// The queue in front of the router's scheduler; `None` = requests are placed at once.
    pub queue: Option<Queueing>,
    /// Filters of the scheduler. What they leave nothing for is refused.
    pub filters: Vec<FilterName>,
}

/// The production queue, and the moment that virtual time begins with for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Queueing {
    /// Its settings.
    pub config: QueueConfig,
    /// Any moment: only differences to it count.
    pub begun: Instant,
}

/// How large the published workloads are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Groups.
    pub groups: u32,
    /// Requests of each.
    pub per_group: u32,
    /// Requests at a time.
    pub concurrency: usize,
    /// Tokens of each answer.
    pub output: u32,
}

impl Scale {
    /// As published.
    pub const PUBLISHED: Self = Self {
        groups: 256,
        per_group: 32,
        concurrency: 300,
        output: 256,
    };

    /// For runs by the wall clock that end within minutes.
    pub const MINUTES: Self = Self {
        groups: 16,
        per_group: 6,
        concurrency: 24,
        ..Self::PUBLISHED
    };
}

/// Shape of the published benchmark: requests in groups that share a system prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupedPrompts {
    /// Groups.
    pub groups: u32,
    /// Requests of each.
    pub per_group: u32,
    /// Tokens that a group shares.
    pub system: u32,
    /// Tokens of each request's own.
    pub question: u32,
    /// Tokens of each answer.
    pub output: u32,
    /// Requests at a time.
    pub concurrency: usize,
}

/// The published benchmark with its long system prompt. Question and answer have the lengths that the
/// load generator's dataset has by default.
pub const LONG: GroupedPrompts = GroupedPrompts {
    groups: 256,
    per_group: 32,
    system: 4096,
    question: 128,
    output: 256,
    concurrency: 300,
};

/// The same with its short system prompt.
pub const SHORT: GroupedPrompts = GroupedPrompts {
    system: 256,
    ..LONG
};

impl GroupedPrompts {
    /// The requests, shuffled.
    pub fn workload(self, name: &str, seed: u64) -> Workload {
        let mut sessions = Vec::new();
        for group in 0..self.groups {
            for _ in 0..self.per_group {
                sessions.push(Session {
                    start: Duration::ZERO,
                    shared: Some(Shared {
                        group,
                        tokens: self.system,
                    }),
                    adapter: None,
                    user: 0,
                    turns: vec![Turn {
                        pause: Duration::ZERO,
                        own: self.question,
                        output: self.output,
                    }],
                });
            }
        }
        Rng::with_seed(seed).shuffle(&mut sessions);
        Workload {
            name: name.to_owned(),
            about: format!(
                "{} groups of {} requests, {} shared and {} own tokens, answers of {}, {} at a time",
                self.groups,
                self.per_group,
                self.system,
                self.question,
                self.output,
                self.concurrency
            ),
            sessions,
            concurrency: Some(self.concurrency),
            adapters: 0,
            queue: None,
            filters: Vec::new(),
        }
    }
}

/// Conversations of several turns with pauses for thought; one system prompt for all.
pub fn chats(seed: u64) -> Workload {
    let mut rng = Rng::with_seed(seed);
    let turn = |rng: &mut Rng| Turn {
        pause: Duration::from_millis(rng.u64(1_000..8_000)),
        own: rng.u32(40..400),
        output: rng.u32(60..400),
    };
    let session = |rng: &mut Rng| Session {
        start: Duration::ZERO,
        shared: Some(Shared {
            group: 0,
            tokens: 600,
        }),
        adapter: None,
        user: 0,
        turns: (0..rng.u32(3..12)).map(|_| turn(rng)).collect(),
    };
    Workload {
        name: "chats".to_owned(),
        about: "600 conversations of 3 to 11 turns with pauses of 1 to 8 seconds, 200 at a time"
            .to_owned(),
        sessions: (0..600).map(|_| session(&mut rng)).collect(),
        concurrency: Some(200),
        adapters: 0,
        queue: None,
        filters: Vec::new(),
    }
}

/// Requests for adapters, of which some are asked for much more often than others.
pub fn adapters(seed: u64) -> Workload {
    const ADAPTERS: u32 = 24;
    let mut rng = Rng::with_seed(seed);
    let session = |rng: &mut Rng| {
        // The smaller of two draws: the first adapter is asked for 47 times as often as the last.
        let adapter = rng.u32(..ADAPTERS).min(rng.u32(..ADAPTERS));
        Session {
            start: Duration::ZERO,
            shared: Some(Shared {
                group: adapter,
                tokens: 500,
            }),
            adapter: Some(adapter),
            user: 0,
            turns: vec![Turn {
                pause: Duration::ZERO,
                own: rng.u32(50..500),
                output: rng.u32(50..200),
            }],
        }
    };
    Workload {
        name: "adapters".to_owned(),
        about: "4,000 requests for 24 LoRA adapters of uneven popularity, 8 of them active on an \
                engine at a time, 120 requests at a time"
            .to_owned(),
        sessions: (0..4000).map(|_| session(&mut rng)).collect(),
        concurrency: Some(120),
        adapters: ADAPTERS,
        queue: None,
        filters: vec![FilterName::LoraAffinity],
    }
}

/// Requests of all lengths that come whether or not others are answered; some share one of a few system prompts.
pub fn mixed(seed: u64) -> Workload {
    const REQUESTS: u32 = 1500;
    /// Requests per second: about two thirds of what three engines of the published kind can do.
    const RATE: f64 = 6.0;
    let mut rng = Rng::with_seed(seed);
    let mut time = 0.0;
    let session = |_| {
        // Gaps of a Poisson process.
        time -= (1.0 - rng.f64()).ln() / RATE;
        // As many between 50 and 100 tokens as between 5,000 and 10,000.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive and far below the limit"
        )]
        let mut length = |least: f64, times: f64| (least * times.powf(rng.f64())) as u32;
        let (own, output) = (length(50.0, 200.0), length(20.0, 30.0));
        let shared = (rng.f64() < 0.4).then(|| Shared {
            group: rng.u32(..20),
            tokens: 1000,
        });
        Session {
            start: Duration::from_secs_f64(time),
            shared,
            adapter: None,
            user: 0,
            turns: vec![Turn {
                pause: Duration::ZERO,
                own,
                output,
            }],
        }
    };
    Workload {
        name: "mixed".to_owned(),
        about: "1,500 requests of 50 to 10,000 own tokens, 6 a second at random, two in five with one of 20 system \
                prompts of 1,000 tokens, answers of 20 to 600"
            .to_owned(),
        sessions: (0..REQUESTS).map(session).collect(),
        concurrency: None,
        adapters: 0,
        queue: None,
        filters: Vec::new(),
    }
}

/// One user with very many requests at once beside many with few, behind the fair queue. `begun` is any moment.
pub fn fairness(seed: u64, begun: Instant) -> Workload {
    const GREEDY: u32 = 600;
    const SMALL: u32 = 20;
    /// Requests in the engines at a time, 32 each.
    const PERMITS: usize = 96;
    let mut rng = Rng::with_seed(seed);
    let one = |rng: &mut Rng, user: u32, turns: u32, pause: Duration| Session {
        start: Duration::ZERO,
        shared: None,
        adapter: None,
        user,
        turns: (0..turns)
            .map(|_| Turn {
                pause: pause.mul_f64(rng.f64()),
                own: rng.u32(200..800),
                output: rng.u32(100..200),
            })
            .collect(),
    };
    let greedy = (0..GREEDY).map(|_| one(&mut rng, 0, 1, Duration::ZERO));
    let mut sessions: Vec<Session> = greedy.collect();
    sessions.extend((1..=SMALL).map(|user| one(&mut rng, user, 6, Duration::from_secs(4))));
    Workload {
        name: "fairness".to_owned(),
        about: "One user with 600 requests at once and 20 with one conversation of 6 turns each, behind the fair queue \
                with 96 requests in the engines at a time and the filter least-request"
            .to_owned(),
        sessions,
        concurrency: None,
        adapters: 0,
        queue: Some(Queueing {
            config: QueueConfig {
                fairness: Some(FairnessConfig {
                    pace: Pace::Permits(NonZeroUsize::MIN.saturating_add(PERMITS - 1)),
                    timeout: Duration::from_hours(1),
                    ..FairnessConfig::default()
                }),
                ..QueueConfig::off()
            },
            begun,
        }),
        filters: vec![FilterName::LeastRequest],
    }
}

/// Names that [`by_name`] knows.
pub const NAMES: [&str; 6] = ["long", "short", "chats", "adapters", "mixed", "fairness"];

/// A workload by its name. `scale` is that of the published ones; `begun` is any moment, from which queues count.
pub fn by_name(name: &str, seed: u64, scale: Scale, begun: Instant) -> Option<Workload> {
    let grouped = |system| GroupedPrompts {
        groups: scale.groups,
        per_group: scale.per_group,
        concurrency: scale.concurrency,
        output: scale.output,
        system,
        ..LONG
    };
    match name {
        "long" => Some(grouped(LONG.system).workload("long", seed)),
        "short" => Some(grouped(SHORT.system).workload("short", seed)),
        "chats" => Some(chats(seed)),
        "adapters" => Some(adapters(seed)),
        "mixed" => Some(mixed(seed)),
        "fairness" => Some(fairness(seed, begun)),
        _ => None,
    }
}

impl Workload {
    /// Requests in all.
    pub fn requests(&self) -> usize {
        self.sessions
            .iter()
            .map(|session| session.turns.len())
            .sum()
    }
}
