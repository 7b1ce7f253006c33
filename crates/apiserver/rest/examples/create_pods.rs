//! Measures creates: so many pods by so many writers, each acknowledged only after it is on disk.
//!
//! ```text
//! cargo run --release -p kthena-apiserver-rest --example create_pods -- <pods> <writers>
//! ```

#![expect(clippy::print_stdout, reason = "the figures are the program's output")]

use std::{error::Error, fs, time::Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kube::{Api, api::PostParams};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let pods = numbers.next().transpose()?.unwrap_or(1000);
    let writers = numbers.next().transpose()?.unwrap_or(16);
    let folder = tempfile::tempdir()?;

    let begun = Instant::now();
    let server = ApiServer::open(ApiServerConfig::new(folder.path(), "token")).await?;
    println!("opened in {:?}, {} resident", begun.elapsed(), resident());

    let api: Api<Pod> = Api::default_namespaced(server.client());
    let begun = Instant::now();
    stream::iter(0..pods)
        .map(|number| create(api.clone(), number))
        .buffer_unordered(writers)
        .try_collect::<Vec<()>>()
        .await?;
    let taken = begun.elapsed();
    println!(
        "{pods} pods by {writers} writers in {taken:?}, {} resident",
        resident()
    );

    let begun = Instant::now();
    server.shutdown().await;
    drop(server);
    let server = ApiServer::open(ApiServerConfig::new(folder.path(), "token")).await?;
    println!("closed and opened again in {:?}", begun.elapsed());
    server.shutdown().await;
    Ok(())
}

async fn create(api: Api<Pod>, number: usize) -> Result<(), Box<dyn Error>> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": format!("pod-{number}"), "labels": { "app": "load" } },
        "spec": {
            "containers": [{
                "name": "engine",
                "image": "engine:1",
                "ports": [{ "containerPort": 8000 }],
                "env": [{ "name": "WORKER_INDEX", "value": "0" }],
                "readinessProbe": { "httpGet": { "path": "/health", "port": 8000 } },
            }],
        },
    }))?;
    api.create(&PostParams::default(), &pod).await?;
    Ok(())
}

/// The process's resident memory as the kernel tells it.
fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap_or("unknown").trim().to_owned()
}
