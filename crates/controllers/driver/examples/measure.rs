//! Measures the controller: many `ModelServing`s on a real API server with pods that KWOK plays.
//!
//! `cargo run --release -p kthena-controllers-driver --example measure -- [SERVINGS] [GROUPS] [WORKERS]` starts a
//! control plane, a controller in a process of its own, creates the objects and prints how long it took until
//! all were available, what the controller's process used, and how often it wrote.
#![expect(clippy::print_stdout, reason = "its output is the measurement")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::{ClientConfig, Target, connect, write};
use kthena_controllers_driver::{DriverConfig, run};
use kthena_testkit::{ControlPlane, Part, crds, eventually};
use kube::api::{Api, ListParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// As in the shipped program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyError = Box<dyn std::error::Error>;

/// Ends its process when it goes out of scope.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // One thread, as in the shipped program: the work is waiting for the API server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match arguments.first().map(String::as_str) {
        Some("controller") => runtime.block_on(controller(PathBuf::from(&arguments[1]))),
        _ => runtime.block_on(measure(&arguments)),
    }
}

async fn controller(kubeconfig: PathBuf) -> Result<(), AnyError> {
    let client = connect(&ClientConfig {
        kubeconfig: Some(kubeconfig),
        ..ClientConfig::default()
    })
    .await?;
    let config = DriverConfig::default();
    let metrics = config.metrics.clone();
    let shutdown = CancellationToken::new();
    tokio::spawn(run(client, config, shutdown));
    // The parent asks by a line on standard input and reads the number of writes.
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(tokio::io::stdin()));
    while lines.next_line().await?.is_some() {
        println!("{}", metrics.writes());
    }
    Ok(())
}

async fn measure(arguments: &[String]) -> Result<(), AnyError> {
    let number = |index: usize, default: i32| {
        arguments
            .get(index)
            .map_or(Ok(default), |text| text.parse())
    };
    let (servings, groups, workers) = (number(0, 100)?, number(1, 5)?, number(2, 1)?);
    let plane =
        ControlPlane::start(&[Part::ControllerManager, Part::Scheduler, Part::Kwok]).await?;
    plane.add_kwok_nodes(16).await?;
    let client = plane.client().await?;
    let definitions: Vec<CustomResourceDefinition> = kthena_api::crd::all()
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()?;
    crds::install(&client, &definitions).await?;
    let mut child = start_controller(plane.kubeconfig())?;
    let at_rest = usage(child.0.id())?;

    let started = Instant::now();
    for number in 0..servings {
        let object = serving(number, groups, workers);
        write::create(
            &client,
            &Target::of::<ModelServing>(),
            Some("default"),
            &object,
        )
        .await?;
    }
    println!(
        "{servings} objects created after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let api: Api<ModelServing> = Api::namespaced(client.clone(), "default");
    eventually("all are available", Duration::from_mins(5), || async {
        let list = api.list(&ListParams::default()).await.ok()?;
        let ready = list.items.iter().filter(|one| {
            one.status
                .as_ref()
                .is_some_and(|status| status.available_replicas == groups)
        });
        (ready.count() == usize::try_from(servings).ok()?).then_some(())
    })
    .await?;
    let elapsed = started.elapsed().as_secs_f64();
    let (cpu, rss, peak) = usage(child.0.id())?;
    let pods = servings * groups * (1 + workers);
    println!("{pods} pods of {servings} ModelServings available after {elapsed:.1} s");
    println!(
        "controller: {:.2} s of CPU ({:.2} s before), {rss} kB resident, {peak} kB at most",
        cpu, at_rest.0
    );
    println!(
        "controller: {} writes, events excepted",
        ask_writes(&mut child)?
    );
    Ok(())
}

fn serving(number: i32, groups: i32, workers: i32) -> serde_json::Value {
    let template = json!({ "spec": { "containers": [{
        "name": "engine", "image": "vllm/vllm-openai:v0.10.0",
        "command": ["sh", "-c", "vllm serve $MODEL --port 8000"],
        "env": [{ "name": "MODEL", "value": "Qwen/Qwen3-8B" }],
        "ports": [{ "containerPort": 8000 }],
        "resources": { "limits": { "cpu": "1", "memory": "1Gi" } },
    }] } });
    let mut role = json!({ "name": "decode", "replicas": 1, "workerReplicas": workers, "entryTemplate": template });
    if workers > 0 {
        role["workerTemplate"] = template;
    }
    json!({
        "apiVersion": "workload.serving.volcano.sh/v1alpha1", "kind": "ModelServing",
        "metadata": { "name": format!("serving-{number}"), "namespace": "default" },
        "spec": { "replicas": groups, "schedulerName": "default-scheduler", "template": { "roles": [role] } },
    })
}

fn start_controller(kubeconfig: &Path) -> Result<Controller, AnyError> {
    let child = Command::new(std::env::current_exe()?)
        .arg("controller")
        .arg(kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(Controller(child))
}

fn ask_writes(child: &mut Controller) -> Result<String, AnyError> {
    use std::io::{BufRead, BufReader, Write};
    child
        .0
        .stdin
        .as_mut()
        .ok_or("no standard input")?
        .write_all(b"\n")?;
    let mut line = String::new();
    BufReader::new(child.0.stdout.as_mut().ok_or("no standard output")?).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Seconds of CPU, resident kilobytes now and at most.
fn usage(pid: u32) -> Result<(f64, u64, u64), AnyError> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no process name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u32 = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        line.split_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    Ok((
        f64::from(ticks) / 100.0,
        kilobytes("VmRSS:"),
        kilobytes("VmHWM:"),
    ))
}
