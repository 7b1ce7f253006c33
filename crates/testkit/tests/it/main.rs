//! The control plane of the test kit, started for real.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers as well"
)]

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kthena_testkit::{ControlPlane, Part, eventually, eventually_ok, objects};
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_mins(1);

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_pod_for_volcano_becomes_ready_on_a_kwok_node() {
    let plane = ControlPlane::shared(&[Part::Scheduler, Part::Kwok])
        .await
        .unwrap();
    let client = plane.client().await.unwrap();
    plane.add_kwok_nodes(1).await.unwrap();
    let create = PostParams::default();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&create, &typed(objects::namespace("volcano-pod")))
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "volcano-pod");
    let mut pod = objects::pod("web", "engine");
    pod["spec"]["schedulerName"] = "volcano".into();
    pods.create(&create, &typed(pod)).await.unwrap();

    let ready = eventually("the pod is ready", DEADLINE, || async {
        let status = pods.get("web").await.ok()?.status?;
        let conditions = status.conditions.unwrap_or_default();
        conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
            .then_some(())
    });

    ready.await.unwrap();
}

#[tokio::test]
async fn parts_are_shared_by_name() {
    let first = ControlPlane::shared(&[Part::Kwok, Part::Scheduler])
        .await
        .unwrap();
    let second = ControlPlane::shared(&[Part::Scheduler, Part::Kwok, Part::Kwok])
        .await
        .unwrap();

    assert_eq!(first.url(), second.url());
}

#[tokio::test]
async fn a_killed_program_leaves_no_process_and_no_folder() {
    let example = env::current_exe()
        .unwrap()
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/control_plane");
    let mut holder = Command::new(example)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut kubeconfig = String::new();
    BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut kubeconfig)
        .unwrap();
    let folder = PathBuf::from(kubeconfig.trim())
        .parent()
        .unwrap()
        .to_path_buf();
    assert!(!processes_in(&folder).is_empty());

    holder.kill().unwrap();
    holder.wait().unwrap();

    let gone = eventually_ok("everything is gone", DEADLINE, || async {
        let left = processes_in(&folder);
        if left.is_empty() && !folder.exists() {
            Ok(())
        } else {
            Err(left)
        }
    });
    gone.await.unwrap();
}

/// Command lines of live processes that mention `folder`.
fn processes_in(folder: &std::path::Path) -> Vec<String> {
    let wanted = folder.display().to_string();
    let lines = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&wanted)).collect()
}
