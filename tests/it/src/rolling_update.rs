//! A rolling update of a prefill/decode model under load: nobody who asks notices.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kthena_testkit::binary;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Config, Resource, ResourceExt};
use tokio::task::JoinSet;

use crate::chaos::client::{Client, Outcome};
use crate::machine::{Machine, chat, ended, example, until};

/// Clients that ask one question after the other.
const CLIENTS: u32 = 6;
/// How soon the watch notices that it is no longer needed.
const LOOK: Duration = Duration::from_millis(200);

/// What the clients met until they were told to stop.
#[derive(Debug, Default)]
struct Met {
    whole: u32,
    /// Everything that is no whole answer.
    losses: Vec<String>,
}

/// The pods of the model as a watch shows them, one change after the other.
#[derive(Debug, Default)]
struct Watched {
    /// Group, revision and readiness of the pods that exist.
    pods: BTreeMap<String, (String, String, bool)>,
    /// All groups were ready once.
    was_up: bool,
    /// The fewest groups that were ready from then on.
    fewest: usize,
    /// What must never be.
    faults: Vec<String>,
}

impl Watched {
    fn apply(&mut self, pod: &Pod) {
        let label = |key: &str| {
            let key = format!("modelserving.volcano.sh/{key}");
            pod.labels().get(&key).cloned().unwrap_or_default()
        };
        let conditions = pod.status.iter().flat_map(|status| &status.conditions);
        let is_ready = conditions
            .flatten()
            .any(|one| one.type_ == "Ready" && one.status == "True");
        let is_serving = is_ready && pod.meta().deletion_timestamp.is_none();
        let seen = (label("group-name"), label("revision"), is_serving);
        self.pods.insert(pod.name_any(), seen);
        self.judge();
    }

    fn delete(&mut self, pod: &Pod) {
        self.pods.remove(&pod.name_any());
        self.judge();
    }

    fn judge(&mut self) {
        let mut groups: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
        for (group, revision, is_serving) in self.pods.values() {
            let (revisions, serving) = groups.entry(group).or_default();
            revisions.insert(revision);
            *serving += usize::from(*is_serving);
        }
        for (group, (revisions, _)) in &groups {
            if revisions.len() > 1 {
                self.faults.push(format!("{group} mixes {revisions:?}"));
            }
        }
        let up = groups.values().filter(|(_, serving)| *serving == 2).count();
        if up == 3 && !self.was_up {
            self.was_up = true;
            self.fewest = up;
        }
        self.fewest = self.fewest.min(up);
    }
}

/// Watches the pods of the model until told to stop.
async fn watch(kubeconfig: PathBuf, stop: Arc<AtomicBool>) -> Watched {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options);
    let client = kube::Client::try_from(config.await.unwrap()).unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client);
    let all = WatchParams::default().labels("modelserving.volcano.sh/name=rolling");
    let mut changes = pods.watch(&all, "0").await.unwrap().boxed();
    let mut watched = Watched::default();
    while !stop.load(Ordering::Relaxed) {
        let change = tokio::time::timeout(LOOK, changes.next());
        let Ok(change) = change.await else { continue };
        match change.unwrap().unwrap() {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => watched.apply(&pod),
            WatchEvent::Deleted(pod) => watched.delete(&pod),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => watched.faults.push(format!("{status:?}")),
        }
    }
    watched
}

async fn ask(client: Client, stop: Arc<AtomicBool>, numbers: Arc<AtomicU32>) -> Met {
    let mut met = Met::default();
    while !stop.load(Ordering::Relaxed) {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        match client.ask(number).await {
            Ok(Outcome::Whole) => met.whole += 1,
            other => met.losses.push(format!("request {number}: {other:?}")),
        }
    }
    met
}

/// The manifests of `folder`, changed, in a folder of the machine.
fn changed(machine: &Machine, folder: &str, change: impl Fn(&str) -> String) -> PathBuf {
    let mut to = None;
    for entry in std::fs::read_dir(example(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = change(&std::fs::read_to_string(&path).unwrap());
            let folder = folder.replace('/', "-");
            std::fs::create_dir_all(machine.state_dir().with_file_name(&folder)).unwrap();
            let written = machine.write(&format!("{folder}/{name}"), &text);
            to = written.parent().map(Path::to_path_buf);
        }
    }
    to.unwrap()
}

/// `kthena rollout status`, to its end.
fn wait_for_rollout(machine: &Machine) -> String {
    let mut command = Command::new(binary::kthena().unwrap());
    command
        .args([
            "rollout",
            "status",
            "modelserving",
            "rolling",
            "--timeout=240",
        ])
        .env("KUBECONFIG", machine.state_dir().join("kubeconfig"));
    let ended = ended(&command.output().unwrap());
    assert!(ended.success, "{}\n{}", ended.stdout, ended.stderr);
    ended.stdout
}

/// Rolls the example from one version to the next while clients ask for answers that are longer by `words`.
fn roll(words: usize, change: impl Fn(&str) -> String) {
    let machine = Machine::new();
    // The answer of an engine that repeats the question shows that all of it has come.
    let echoing = |text: &str| {
        change(text).replace("- --port=8000", "- --port=8000\n            - --sim-echo")
    };
    let router = machine.up(&changed(&machine, "rolling-update", echoing));
    until("an answer", || {
        (chat(&router, "qwen-rolling", &[]).0 == 200).then_some(())
    });
    let next = changed(&machine, "rolling-update/next", echoing);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (stop, numbers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());

    let watching = runtime.spawn(watch(
        machine.state_dir().join("kubeconfig"),
        Arc::clone(&stop),
    ));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let client = Client::new(&router, "qwen-rolling").with_words(words);
        clients.spawn_on(
            ask(client, Arc::clone(&stop), Arc::clone(&numbers)),
            runtime.handle(),
        );
    }
    let asked = || (numbers.load(Ordering::Relaxed) > CLIENTS).then_some(());
    until("answers before the update", asked);
    let applied = machine.run(&["apply", "-f", next.to_str().unwrap()]);
    assert!(applied.success, "{}", applied.stderr);
    let told = wait_for_rollout(&machine);
    stop.store(true, Ordering::Relaxed);

    let met = runtime.block_on(async {
        let mut all = Met::default();
        while let Some(met) = clients.join_next().await {
            let met = met.unwrap();
            all.whole += met.whole;
            all.losses.extend(met.losses);
        }
        all
    });
    let watched = runtime.block_on(watching).unwrap();
    assert!(
        met.losses.is_empty(),
        "{} whole answers, {told}\n{:#?}",
        met.whole,
        met.losses
    );
    assert!(met.whole > CLIENTS, "{}", met.whole);
    assert_eq!(watched.faults, Vec::<String>::new());
    assert!(watched.was_up && watched.fewest == 2, "{}", watched.fewest);
    let revisions: BTreeSet<_> = watched.pods.values().map(|pod| &pod.1).collect();
    assert_eq!((watched.pods.len(), revisions.len()), (6, 1), "{watched:?}");
    let images = machine.kubectl(&["get", "pods", "-o", "jsonpath={..image}"]);
    assert!(
        images.stdout.contains("v0.12.0") && !images.stdout.contains("v0.11.0"),
        "{}",
        images.stdout
    );
}

#[test]
fn a_rolling_update_of_prefill_and_decode_loses_no_answer() {
    roll(250, str::to_owned);
}

#[test]
fn answers_shorter_than_the_engines_own_drain_need_no_hook() {
    // Without the hook an engine is told to stop at the moment its pod is deleted.
    roll(30, |text| {
        text.replace("            lifecycle: *finish\n", "")
            .replace("lifecycle: &finish", "lifecycle: {}")
            .replace(
                "              preStop:\n                sleep:\n                  seconds: 10\n",
                "",
            )
    });
}
