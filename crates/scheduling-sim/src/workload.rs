//! Who asks for what, and when.
//!
//! Everything is a session of one or more turns. A turn's prompt is what the session's group shares,
//! all that was said in the session before, and the turn's own words.

use std::time::Duration;

use fastrand::Rng;

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
        turns: (0..rng.u32(3..12)).map(|_| turn(rng)).collect(),
    };
    Workload {
        name: "chats".to_owned(),
        about: "600 conversations of 3 to 11 turns with pauses of 1 to 8 seconds, 200 at a time"
            .to_owned(),
        sessions: (0..600).map(|_| session(&mut rng)).collect(),
        concurrency: Some(200),
        adapters: 0,
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
    }
}

/// Names that [`by_name`] knows.
pub const NAMES: [&str; 4] = ["long", "short", "chats", "adapters"];

/// A workload by its name.
pub fn by_name(name: &str, seed: u64) -> Option<Workload> {
    match name {
        "long" => Some(LONG.workload("long", seed)),
        "short" => Some(SHORT.workload("short", seed)),
        "chats" => Some(chats(seed)),
        "adapters" => Some(adapters(seed)),
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
