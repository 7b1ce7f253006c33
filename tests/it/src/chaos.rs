//! Engines that die, hang, break off and come and go under load: every request has an answer or a visible break, none has
//! two, and what stands beside them is not harmed.
//!
//! `KTHENA_CHAOS_SECONDS` says how long it goes on; a short time by default.

pub(crate) mod client;
mod engines;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::machine::{Machine, chat, until};
use client::{Client, Outcome};
use engines::{Engines, Trouble};

/// Usual length of the chaos.
const USUAL: Duration = Duration::from_secs(20);

/// Clients of the engines in trouble, and of the one beside them.
const CLIENTS: usize = 8;
const BYSTANDERS: usize = 2;

/// How long the same load runs before the trouble begins, to compare with.
const BEFORE: Duration = Duration::from_secs(5);
/// The p99 of the bystanders may be so many times what it was before, and so much more: processes that start anew take
/// time of the same cores. What hangs is ended after ten seconds, so whoever is held up by it is far beyond.
const SLOWER: u32 = 3;
const MORE: Duration = Duration::from_millis(500);

/// One model on four engines that get into trouble, one on an engine that nobody touches.
const MANIFEST: &str = r#"
apiVersion: workload.serving.volcano.sh/v1alpha1
kind: ModelServing
metadata: {name: shaken}
spec:
  replicas: 4
  template:
    roles:
    - name: server
      replicas: 1
      workerReplicas: 0
      entryTemplate:
        metadata: {labels: {app: shaken}}
        spec:
          containers:
          - name: engine
            image: vllm/vllm-openai:v0.11.0
            command: ["vllm", "serve", "shaken"]
            args: ["--port", "8000", "--max-model-len", "4096", "--sim-echo"]
            readinessProbe: {httpGet: {path: /health, port: 8000}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: workload.serving.volcano.sh/v1alpha1
kind: ModelServing
metadata: {name: calm}
spec:
  replicas: 1
  template:
    roles:
    - name: server
      replicas: 1
      workerReplicas: 0
      entryTemplate:
        metadata: {labels: {app: calm}}
        spec:
          containers:
          - name: engine
            image: vllm/vllm-openai:v0.11.0
            command: ["vllm", "serve", "calm"]
            args: ["--port", "8000", "--max-model-len", "4096", "--sim-echo"]
            readinessProbe: {httpGet: {path: /health, port: 8000}, periodSeconds: 1}
---
apiVersion: networking.serving.volcano.sh/v1alpha1
kind: ModelServer
metadata: {name: shaken}
spec: {model: shaken, inferenceEngine: vLLM, workloadSelector: {matchLabels: {app: shaken}}, workloadPort: {port: 8000}, trafficPolicy: {timeout: 10s, retry: {attempts: 2, retryInterval: 50ms}}}
---
apiVersion: networking.serving.volcano.sh/v1alpha1
kind: ModelServer
metadata: {name: calm}
spec: {model: calm, inferenceEngine: vLLM, workloadSelector: {matchLabels: {app: calm}}, workloadPort: {port: 8000}, trafficPolicy: {timeout: 10s}}
---
apiVersion: networking.serving.volcano.sh/v1alpha1
kind: ModelRoute
metadata: {name: shaken}
spec: {modelName: shaken, rules: [{name: all, targetModels: [{modelServerName: shaken}]}]}
---
apiVersion: networking.serving.volcano.sh/v1alpha1
kind: ModelRoute
metadata: {name: calm}
spec: {modelName: calm, rules: [{name: all, targetModels: [{modelServerName: calm}]}]}
"#;

/// What the clients of one model met.
#[derive(Debug, Default)]
struct Met {
    outcomes: BTreeMap<String, u32>,
    violations: Vec<String>,
    times: Vec<Duration>,
}

impl Met {
    fn note(&mut self, outcome: Result<Outcome, String>, time: Duration) {
        match outcome {
            Ok(outcome) => *self.outcomes.entry(format!("{outcome:?}")).or_default() += 1,
            Err(violation) => self.violations.push(violation),
        }
        self.times.push(time);
    }

    fn merge(&mut self, other: Self) {
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.violations.extend(other.violations);
        self.times.extend(other.times);
    }

    /// The time that one request in a hundred exceeds.
    fn p99(&mut self) -> Duration {
        self.times.sort_unstable();
        self.times[self.times.len() * 99 / 100]
    }
}

/// Sends requests one after the other until `stop`.
async fn load(client: Client, stop: Arc<AtomicBool>, numbers: Arc<AtomicU32>) -> Met {
    let mut met = Met::default();
    while !stop.load(Ordering::Relaxed) {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let outcome = client.ask(number).await;
        met.note(outcome, start.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    met
}

async fn all(mut clients: JoinSet<Met>) -> Met {
    let mut all = Met::default();
    while let Some(met) = clients.join_next().await {
        all.merge(met.unwrap());
    }
    all
}

/// What `work` comes to while clients of both models ask, and what they met: those of the engines in trouble, those of
/// the one beside them.
async fn under_load<T>(router: &str, work: impl Future<Output = T>) -> (T, Met, Met) {
    let (stop, numbers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
    let start = |model: &str, count| {
        let clients = (0..count).map(|_| Client::new(router, model));
        let clients = clients.map(|client| load(client, Arc::clone(&stop), Arc::clone(&numbers)));
        clients.collect::<JoinSet<Met>>()
    };
    let (shaken, calm) = (start("shaken", CLIENTS), start("calm", BYSTANDERS));
    let done = work.await;
    stop.store(true, Ordering::Relaxed);
    (done, all(shaken).await, all(calm).await)
}

/// Gets one engine after the other into trouble for `length`.
async fn chaos(engines: &Engines<'_>, length: Duration, seed: u64) -> Vec<Trouble> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut done = Vec::new();
    let start = Instant::now();
    // Every kind of trouble once, then any.
    while start.elapsed() < length || done.len() < Trouble::ALL.len() {
        let trouble = *Trouble::ALL
            .get(done.len())
            .unwrap_or(&Trouble::ALL[random.usize(..Trouble::ALL.len())]);
        let pause = Duration::from_millis(random.u64(300..1500));
        if engines.trouble(trouble, pause, &mut random).await {
            done.push(trouble);
        }
    }
    engines.calm_down().await;
    done
}

/// What must be zero when nothing is under way.
fn busy(metrics: &str) -> Vec<&str> {
    let gauges = ["kthena_router_active_", "vllm:num_requests_"];
    metrics
        .lines()
        .filter(|line| gauges.iter().any(|gauge| line.starts_with(gauge)))
        .filter(|line| {
            let value = line.rsplit(' ').next().and_then(|value| value.parse().ok());
            value != Some(0.0)
        })
        .collect()
}

#[test]
fn engines_in_trouble_cost_no_answer_and_harm_nobody_else() {
    let seed = fastrand::u64(..);
    let length = std::env::var("KTHENA_CHAOS_SECONDS").ok();
    let length = length.map_or(USUAL, |seconds| {
        Duration::from_secs(seconds.parse().unwrap())
    });
    let machine = Machine::new();
    let router = machine.up(&machine.write("chaos.yaml", MANIFEST));
    until("both models", || {
        let ready = ["shaken", "calm"].map(|model| chat(&router, model, &[]).0) == [200, 200];
        ready.then_some(())
    });
    let engines = Engines::of(&machine, "shaken");
    let runtime = tokio::runtime::Runtime::new().unwrap();

    let quiet = async { tokio::time::sleep(BEFORE).await };
    let ((), _, mut before) = runtime.block_on(under_load(&router, quiet));
    let (done, mut shaken, mut calm) =
        runtime.block_on(under_load(&router, chaos(&engines, length, seed)));

    let story = format!("seed {seed}: {done:?}\nmet {:?}", shaken.outcomes);
    assert!(
        shaken.violations.is_empty(),
        "{:#?}\n{story}",
        shaken.violations
    );
    assert!(shaken.outcomes.contains_key("Whole"), "{story}");
    assert!(
        calm.violations.is_empty(),
        "{:#?}\n{story}",
        calm.violations
    );
    assert_eq!(
        calm.outcomes.keys().collect::<Vec<_>>(),
        ["Whole"],
        "the model beside them was harmed\n{story}"
    );
    let (own, beside, before) = (shaken.p99(), calm.p99(), before.p99());
    assert!(
        beside <= before * SLOWER + MORE,
        "p99 beside {beside:?}, before {before:?}\n{story}"
    );
    let mut left = String::new();
    until("counters at zero", || {
        left = runtime.block_on(engines.metrics(&router));
        let busy = busy(&left);
        (busy.is_empty() && !left.is_empty()).then_some(())
    });
    until("every engine back", || (engines.ready() == 4).then_some(()));
    assert_eq!(chat(&router, "shaken", &[]).0, 200, "{story}");
    println!("{story}\np99 {own:?}, beside {beside:?}, beside before {before:?}");
}
