//! What one decision of the scheduler costs: CPU time of this process, without sockets.
//!
//! The endpoints are measured and busy, the prompt is a chat of 4,096 tokens inside a JSON body, as a request brings
//! it. A decision reads the body's facts anew, hashes the prompt, filters, scores and places; a dispatch notes where it
//! went. Prompts change from request to request and share their beginning, as they do in practice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kthena_router_pipeline::{BodyFacts, PromptReader};
use kthena_router_plugins::config::ScorerName;
use kthena_router_plugins::{SchedulerConfig, Scheduling};
use kthena_router_scheduler::{
    Candidate, Endpoint, InFlight, Notes, PodIdentity, RequestFacts, Sample,
};
use rustix::time::{ClockId, clock_gettime};

use crate::report::say;
use crate::table::{Bound, Figure};

/// Bytes of prompt text: 4,096 tokens of four.
const PROMPT: usize = 4 * 4096;
/// Different prompts that take turns.
const PROMPTS: usize = 64;
/// Rounds before and while time is taken.
const WARM_UP: u32 = 300;
const ROUNDS: u32 = 3_000;

/// Endpoints, the set of plugins, and the most that a decision of the default set may cost, microseconds.
const CASES: [(usize, Plugins, &str, Bound); 6] = [
    (
        3,
        Plugins::Default,
        "3 endpoints, default",
        Bound::Below(15.0),
    ),
    (3, Plugins::Adaptive, "3 endpoints, adaptive", Bound::None),
    (
        100,
        Plugins::Default,
        "100 endpoints, default",
        Bound::Below(40.0),
    ),
    (
        100,
        Plugins::Adaptive,
        "100 endpoints, adaptive",
        Bound::None,
    ),
    (
        1_000,
        Plugins::Default,
        "1,000 endpoints, default",
        Bound::Below(250.0),
    ),
    (
        1_000,
        Plugins::Adaptive,
        "1,000 endpoints, adaptive",
        Bound::None,
    ),
];

#[derive(Clone, Copy)]
enum Plugins {
    Default,
    Adaptive,
}

impl Plugins {
    fn config(self) -> SchedulerConfig {
        let default = SchedulerConfig::default();
        match self {
            Self::Default => default,
            Self::Adaptive => SchedulerConfig {
                filters: Vec::new(),
                scorers: vec![(ScorerName::Adaptive, 1)],
                ..default
            },
        }
    }
}

/// Prints a line for each number of endpoints and set of plugins.
pub(crate) fn run() -> anyhow::Result<()> {
    say(&Figure::titles())?;
    for (endpoints, plugins, name, bound) in CASES {
        let (decision, dispatch) = measure(plugins.config(), endpoints)?;
        let figure = Figure {
            name,
            measured: decision,
            unit: "µs",
            bound,
            note: format!("noting where it went: {dispatch:.1} µs"),
        };
        say(&figure.to_string())?;
    }
    Ok(())
}

/// CPU microseconds of a decision and of a dispatch, each in the mean.
fn measure(config: SchedulerConfig, count: usize) -> anyhow::Result<(f64, f64)> {
    let scheduling = Scheduling::new(config, 1);
    let mut rng = Rng::with_seed(1);
    let (candidates, _busy) = endpoints(count, &mut rng);
    let bodies: Vec<Vec<u8>> = (0..PROMPTS).map(|number| body(number, &mut rng)).collect();
    let (mut deciding, mut dispatching) = (Duration::ZERO, Duration::ZERO);
    for round in 0..WARM_UP + ROUNDS {
        let body = &bodies[round as usize % PROMPTS];
        let facts = BodyFacts::read(body)?;
        let prompt = facts.prompt.unwrap_or_default();
        let notes = Notes::default();
        let text = PromptReader::new(body, &prompt);
        let request = RequestFacts {
            prompt: &text,
            prompt_tokens: prompt.tokens(),
            now: Duration::from_millis(round.into()),
            ..RequestFacts::new(&facts.model, &notes)
        };
        let begun = cpu_time();
        let placed = scheduling.profile.place(&request, &candidates, &mut rng)?;
        let decided = cpu_time();
        let mut dispatch = scheduling
            .profile
            .dispatch(&request, &placed[0].candidate.endpoint);
        let dispatched = cpu_time();
        dispatch.first_token(request.now);
        drop(dispatch);
        if round >= WARM_UP {
            deciding += decided.saturating_sub(begun);
            dispatching += dispatched.saturating_sub(decided);
        }
    }
    let each = |total: Duration| total.as_secs_f64() * 1e6 / f64::from(ROUNDS);
    Ok((each(deciding), each(dispatching)))
}

fn endpoints(count: usize, rng: &mut Rng) -> (Vec<Candidate>, Vec<InFlight>) {
    let mut busy = Vec::new();
    let candidates = (0..count).map(|number| {
        let pod = PodIdentity {
            namespace: "bench".into(),
            name: format!("pod-{number}").into(),
            uid: number.to_string().into(),
        };
        let endpoint = Arc::new(Endpoint::new(pod));
        endpoint.set_sample(Sample {
            running: rng.u32(0..20),
            waiting: rng.u32(0..3),
            kv_usage: rng.f64(),
            ttft: rng.f64(),
            tpot: rng.f64() / 10.0,
            taken_at: Duration::ZERO,
        });
        busy.extend((0..rng.u32(0..20)).map(|_| endpoint.begin()));
        Candidate {
            endpoint,
            address: SocketAddr::from(([127, 0, 0, 1], 8000)),
        }
    });
    (candidates.collect(), busy)
}

/// A chat whose first half is one of eight system prompts.
fn body(number: usize, rng: &mut Rng) -> Vec<u8> {
    let mut shared = Rng::with_seed(number as u64 % 8);
    let text = |rng: &mut Rng, bytes: usize| -> String {
        let words = std::iter::repeat_with(|| {
            if rng.u8(0..6) == 0 {
                ' '
            } else {
                rng.lowercase()
            }
        });
        words.take(bytes).collect()
    };
    let system = text(&mut shared, PROMPT / 2);
    let question = text(rng, PROMPT / 2);
    let messages = [("system", system), ("user", question)]
        .map(|(role, content)| serde_json::json!({"role": role, "content": content}));
    serde_json::json!({"model": "m", "messages": messages})
        .to_string()
        .into_bytes()
}

/// CPU time of this process.
pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
