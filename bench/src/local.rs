//! Measures local mode: the real program, real processes, a state folder of its own for each run.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::family::{self, Usage};
use crate::load;
use crate::report::say;
use crate::table::{Bound, Figure};
use crate::up::Up;

/// Pods of a `ModelServing` of the many.
const PODS_PER_SERVING: u32 = 10;
/// Time after which a start has passed and rest begins.
const REST: Duration = Duration::from_secs(10);
/// Time over which CPU at rest is counted.
const WINDOW: Duration = Duration::from_secs(30);
/// Longest that anything may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_mins(4);
/// Bytes of a megabyte.
const MEGABYTE: f64 = 1_048_576.0;

/// What is to be measured.
pub(crate) struct LocalBench<'a> {
    /// The program.
    pub(crate) kthena: &'a Path,
    /// Manifests of the first model.
    pub(crate) quickstart: &'a Path,
    /// How many pods are many.
    pub(crate) pods: u32,
    /// File to which a line of JSON is added.
    pub(crate) json: Option<&'a Path>,
}

/// Measures everything and prints it.
pub(crate) async fn run(bench: &LocalBench<'_>) -> anyhow::Result<()> {
    let mut report = Report::default();
    say(&Figure::titles())?;
    report.add(first_token(bench).await?)?;
    for figure in at_rest(bench).await? {
        report.add(figure)?;
    }
    many(bench, &mut report).await?;
    if let Some(path) = bench.json {
        let mut file = File::options().create(true).append(true).open(path)?;
        let figures: Vec<Value> = report.figures.iter().map(Figure::json).collect();
        writeln!(file, "{}", json!({ "bench": "local", "figures": figures }))?;
    }
    Ok(())
}

/// From the start of the program with an empty state folder to the first token of the answer.
async fn first_token(bench: &LocalBench<'_>) -> anyhow::Result<Figure> {
    let manifests = bench.quickstart.display().to_string();
    let mut up = Up::start(
        bench.kthena,
        &["-f", &manifests, "--ask", "Who are you?", "--once"],
    )?;
    let took = up.until(PATIENCE, has_token).await?;
    up.ended().await?;
    Ok(Figure {
        name: "local up to first streamed token",
        measured: took.as_secs_f64(),
        unit: "s",
        bound: Bound::Below(5.0),
        note: String::new(),
    })
}

/// Whether the answer, which follows the question on a line that begins with the model's name, has begun.
fn has_token(said: &str) -> bool {
    said.split_once("\nYou: ")
        .and_then(|(_, rest)| rest.split_once('\n'))
        .and_then(|(_, answer)| answer.split_once(": "))
        .is_some_and(|(_, answer)| !answer.is_empty())
}

/// What the program costs that has nothing to do.
async fn at_rest(bench: &LocalBench<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut up = Up::start(bench.kthena, &[])?;
    up.until_serving(PATIENCE).await?;
    sleep(REST).await;
    let before = family::usage(&up.family());
    sleep(WINDOW).await;
    let after = family::usage(&up.family());
    up.down().await?;
    Ok(vec![
        Figure {
            name: "no pods: resident memory",
            measured: after.resident / MEGABYTE,
            unit: "MB",
            bound: Bound::Below(60.0),
            note: "program and supervisor".to_owned(),
        },
        Figure {
            name: "no pods: CPU at rest",
            measured: share(before, after),
            unit: "%",
            bound: Bound::None,
            note: "of a core".to_owned(),
        },
    ])
}

/// Many pods: how long until all are ready, what they cost, whether they serve, how long until all are gone.
async fn many(bench: &LocalBench<'_>, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("many.yaml");
    std::fs::write(&manifest, manifests(bench.pods))?;
    let mut up = Up::start(bench.kthena, &["-f", &manifest.display().to_string()])?;
    let ready = up.until_serving(PATIENCE).await?;
    let program = up.program().into_iter().collect::<Vec<_>>();
    let spent = family::usage(&up.family());
    report.add(Figure {
        name: "many pods: all ready",
        measured: ready.as_secs_f64(),
        unit: "s",
        bound: Bound::Below(60.0),
        note: format!(
            "{} pods; {:.1} s of CPU, of which the program {:.1} s",
            bench.pods,
            spent.cpu_micros / 1e6,
            family::usage(&program).cpu_micros / 1e6
        ),
    })?;
    sleep(REST).await;
    let pids = up.family();
    let before = (family::usage(&pids), family::usage(&program));
    sleep(WINDOW).await;
    let after = (family::usage(&pids), family::usage(&program));
    for figure in costs(before, after, pids.len()) {
        report.add(figure)?;
    }

    let chat = r#"{"model":"many","messages":[{"role":"user","content":"Hello?"}],"max_tokens":8}"#;
    let chat = load::request("/v1/chat/completions", chat);
    let answered = load::closed(up.router()?, &chat, 1, 1).await?;
    report.add(Figure {
        name: "many pods: one chat",
        measured: answered.as_secs_f64() * 1000.0,
        unit: "ms",
        bound: Bound::None,
        note: "8 tokens, simulated engine".to_owned(),
    })?;
    let down = up.down().await?;
    report.add(Figure {
        name: "many pods: down",
        measured: down.as_secs_f64(),
        unit: "s",
        bound: Bound::None,
        note: String::new(),
    })?;
    report.add(Figure {
        name: "many pods: processes left after down",
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        measured: up.family().len() as f64,
        unit: "",
        bound: Bound::Zero,
        note: String::new(),
    })
}

/// Figures of (all processes, the program alone) before and after a time of rest.
fn costs(before: (Usage, Usage), after: (Usage, Usage), count: usize) -> [Figure; 4] {
    let (all, program) = after;
    [
        Figure {
            name: "many pods: resident memory, summed",
            measured: all.resident / MEGABYTE,
            unit: "MB",
            bound: Bound::None,
            note: format!(
                "{count} processes; the program {:.1} MB",
                program.resident / MEGABYTE
            ),
        },
        Figure {
            name: "many pods: resident memory, shared pages once",
            measured: all.proportional / MEGABYTE,
            unit: "MB",
            bound: Bound::Below(1536.0),
            note: format!("the program {:.1} MB", program.proportional / MEGABYTE),
        },
        Figure {
            name: "many pods: CPU at rest, all processes",
            measured: share(before.0, all),
            unit: "%",
            bound: Bound::Below(10.0),
            note: "of a core".to_owned(),
        },
        Figure {
            name: "many pods: CPU at rest, the program alone",
            measured: share(before.1, program),
            unit: "%",
            bound: Bound::Below(10.0),
            note: "of a core".to_owned(),
        },
    ]
}

/// CPU time over the window, in percent of a core.
fn share(before: Usage, after: Usage) -> f64 {
    (after.cpu_micros - before.cpu_micros) / 1e6 / WINDOW.as_secs_f64() * 100.0
}

/// `ModelServing`s of `pods` pods together, and one model that all of them serve. JSON is YAML.
fn manifests(pods: u32) -> String {
    let servings = (0..pods.div_ceil(PODS_PER_SERVING)).map(|number| {
        serving(
            number,
            PODS_PER_SERVING.min(pods - number * PODS_PER_SERVING),
        )
    });
    let documents: Vec<String> = servings
        .chain([server(), route()])
        .map(|document| document.to_string())
        .collect();
    documents.join("\n---\n")
}

fn serving(number: u32, groups: u32) -> Value {
    json!({
        "apiVersion": "workload.serving.volcano.sh/v1alpha1", "kind": "ModelServing",
        "metadata": { "name": format!("many-{number}") },
        "spec": { "replicas": groups, "template": { "roles": [{
            "name": "server", "replicas": 1, "workerReplicas": 0,
            "entryTemplate": {
                "metadata": { "labels": { "app": "many" } },
                "spec": { "containers": [{
                    "name": "engine", "image": "vllm/vllm-openai:v0.11.0",
                    "command": ["vllm", "serve", "Qwen/Qwen2.5-7B-Instruct"],
                    "args": ["--served-model-name", "many", "--port", "8000"],
                    "ports": [{ "name": "http", "containerPort": 8000 }],
                    "readinessProbe": {
                        "httpGet": { "path": "/health", "port": "http" },
                        "initialDelaySeconds": 1, "periodSeconds": 5,
                    },
                }] },
            },
        }] } },
    })
}

fn server() -> Value {
    json!({
        "apiVersion": "networking.serving.volcano.sh/v1alpha1", "kind": "ModelServer",
        "metadata": { "name": "many" },
        "spec": {
            "model": "many", "inferenceEngine": "vLLM",
            "workloadSelector": { "matchLabels": { "app": "many" } },
            "workloadPort": { "port": 8000 },
        },
    })
}

fn route() -> Value {
    json!({
        "apiVersion": "networking.serving.volcano.sh/v1alpha1", "kind": "ModelRoute",
        "metadata": { "name": "many" },
        "spec": { "modelName": "many", "rules": [
            { "name": "default", "targetModels": [{ "modelServerName": "many" }] },
        ] },
    })
}

/// What was measured so far, printed as it comes.
#[derive(Default)]
struct Report {
    figures: Vec<Figure>,
}

impl Report {
    fn add(&mut self, figure: Figure) -> anyhow::Result<()> {
        say(&figure.to_string())?;
        self.figures.push(figure);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{has_token, manifests};

    #[test]
    fn the_answer_has_begun_with_its_first_character() {
        let question = "pod a Ready\n\nYou: Who are you?\nqwen: ";
        assert!(!has_token("pod a Ready\n"));
        assert!(!has_token(question));
        assert!(has_token(&format!("{question}I")));
    }

    #[test]
    fn manifests_hold_as_many_groups_as_pods_are_wanted() {
        let text = manifests(25);
        let groups: u64 = text
            .split("\n---\n")
            .map(|document| serde_json::from_str::<serde_json::Value>(document).unwrap())
            .filter_map(|document| document["spec"]["replicas"].as_u64())
            .sum();
        assert_eq!(groups, 25);
    }
}
