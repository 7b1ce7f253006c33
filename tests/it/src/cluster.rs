//! The program's controllers on a real Kubernetes control plane, with pods that nobody runs.

use std::process::{Child, Command, Stdio};

use kthena_testkit::binary;
use kthena_testkit::control_plane::{self, ControlPlane, Part};
use rustix::process::Signal;

use crate::machine::{Ended, end, ended, example, until};

/// A real control plane, and `kthena controller-manager` beside it.
pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    manager: Option<Child>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let plane = ControlPlane::start(&[Part::ControllerManager, Part::Scheduler, Part::Kwok])
            .await
            .unwrap();
        plane.add_kwok_nodes(2).await.unwrap();
        let cluster = Self {
            plane,
            manager: None,
        };
        let file = binary::repository().join("deploy/crds/kthena-crds.yaml");
        let applied = cluster.kubectl(&["apply", "--server-side", "-f", file.to_str().unwrap()]);
        assert!(applied.success, "{}", applied.stderr);
        let established = cluster.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd",
            "--all",
        ]);
        assert!(established.success, "{}", established.stderr);
        cluster
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Ended {
        let mut command = control_plane::kubectl().unwrap();
        ended(
            &command
                .arg("--kubeconfig")
                .arg(self.plane.kubeconfig())
                .args(arguments)
                .output()
                .unwrap(),
        )
    }

    pub(crate) fn start_manager(&mut self) {
        let manager = Command::new(binary::kthena().unwrap())
            .args([
                "controller-manager",
                "--enable-webhook=false",
                "--kubeconfig",
            ])
            .arg(self.plane.kubeconfig())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.manager = Some(manager);
    }

    pub(crate) fn stop_manager(&mut self, signal: Signal) -> Ended {
        end(self.manager.take().unwrap(), signal)
    }

    /// Waits until the `ModelServing` says it has that many groups, all of them available.
    fn until_available(&self, groups: usize) {
        let wanted = format!("{groups}/{groups}");
        until("groups available", || {
            let status = self.kubectl(&[
                "get",
                "modelserving",
                "llama",
                "-o",
                "jsonpath={.status.replicas}/{.status.availableReplicas}",
            ]);
            (status.stdout == wanted).then_some(())
        });
    }

    fn pods(&self) -> Vec<String> {
        let names = self.kubectl(&["get", "pods", "--sort-by=.metadata.name", "-o", "name"]);
        names.stdout.lines().map(str::to_owned).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.manager.is_some() {
            self.stop_manager(Signal::KILL);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manager_creates_scales_survives_a_kill_and_deletes() {
    let mut cluster = Cluster::start().await;
    cluster.start_manager();
    let folder = example("multi-node");
    let applied = cluster.kubectl(&["apply", "-f", folder.to_str().unwrap()]);
    assert!(applied.success, "{}", applied.stderr);
    cluster.until_available(1);
    assert_eq!(
        cluster.pods(),
        [
            "pod/llama-0-node-0-0",
            "pod/llama-0-node-0-1",
            "pod/llama-0-node-0-2"
        ]
    );

    let scaled = cluster.kubectl(&["scale", "modelserving", "llama", "--replicas=4"]);
    assert!(scaled.success, "{}", scaled.stderr);
    cluster.stop_manager(Signal::KILL);
    cluster.start_manager();
    cluster.until_available(4);
    assert_eq!(cluster.pods().len(), 12);

    assert!(
        cluster
            .kubectl(&["scale", "modelserving", "llama", "--replicas=1"])
            .success
    );
    cluster.until_available(1);
    until("the pods of three groups gone", || {
        (cluster.pods().len() == 3).then_some(())
    });

    assert!(
        cluster
            .kubectl(&["delete", "modelserving", "llama"])
            .success
    );
    until("all pods gone", || cluster.pods().is_empty().then_some(()));
    assert!(cluster.stop_manager(Signal::TERM).success);
}
