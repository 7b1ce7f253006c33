//! The controller is killed after every single write of a scenario, one run per write. Each time a new one takes
//! over, and the end is always the same.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use http::{Method, Request, Response};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kthena_cluster::write::{self, WriteError};
use kthena_cluster::{Change, ObjectKey, Scope, Target, watch};
use kthena_controllers_driver::{DriverConfig, run};
use kthena_testkit::{eventually, eventually_ok, objects};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::client::Body;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Bench, SOON, role, serving, set_image};

/// Runs that go on at the same time.
const PARALLEL: usize = 8;

/// Everything that must be the same at the end, however it was reached.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct End {
    /// Image and revision by name.
    pods: BTreeMap<String, (String, String)>,
    services: Vec<String>,
    pub(crate) snapshots: BTreeMap<String, Option<String>>,
    pub(crate) status: Value,
}

/// Passes everything on; the reply to the last allowed write never arrives, and `killed` fires.
fn fragile(
    client: Client,
    allowed: usize,
    writes: Arc<AtomicUsize>,
    killed: CancellationToken,
) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        let (writes, killed) = (Arc::clone(&writes), killed.clone());
        async move {
            let is_write =
                request.method() != Method::GET && !request.uri().path().ends_with("/events");
            let answer: Result<Response<Body>, _> = client.send(request).await;
            if is_write && writes.fetch_add(1, Ordering::Relaxed) + 1 == allowed {
                killed.cancel();
                std::future::pending::<()>().await;
            }
            answer
        }
    });
    Client::new(service, "default")
}

/// Makes pods ready, as a kubelet would: again and again while the server does not answer.
pub(crate) async fn kubelet(client: Client) {
    let mut pods = pin!(watch::<Pod>(client.clone(), &Scope::default()));
    while let Some(change) = pods.next().await {
        let Change::Applied(pod) = change else {
            continue;
        };
        eventually_ok("the server takes the status of a pod", SOON, || {
            play(&client, &pod)
        })
        .await
        .expect("the server is back");
    }
}

async fn play(client: &Client, pod: &Pod) -> Result<(), String> {
    let key = ObjectKey::new(pod.namespace().unwrap_or_default(), pod.name_any());
    if pod.metadata.deletion_timestamp.is_some() {
        // The server leaves a deletion half done if it, or the client, is killed in the middle of it.
        let pods: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
        let now = DeleteParams::default().grace_period(0);
        return match pods.delete(&key.name, &now).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            outcome => outcome.map(|_| ()).map_err(|error| error.to_string()),
        };
    }
    let status = pod.status.as_ref();
    if status.and_then(|status| status.phase.as_deref()) == Some("Running") {
        return Ok(());
    }
    let status = json!({ "status": {
        "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    match write::merge_patch(client, &Target::of::<Pod>(), &key, Some("status"), &status).await {
        Ok(_) | Err(WriteError::NotFound | WriteError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// A controller that dies after some writes and is replaced, for one namespace.
pub(crate) struct Fragile {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    writes: Arc<AtomicUsize>,
    killed: CancellationToken,
}

impl Fragile {
    pub(crate) fn start(bench: &Bench, allowed: usize) -> Self {
        let config = DriverConfig {
            namespace: Some(bench.namespace.clone()),
            host: "test".to_owned(),
            gather: Duration::from_millis(1),
            ..DriverConfig::default()
        };
        let (stop, killed) = (CancellationToken::new(), CancellationToken::new());
        let writes = Arc::new(AtomicUsize::new(0));
        let doomed = fragile(
            bench.client.clone(),
            allowed,
            Arc::clone(&writes),
            killed.clone(),
        );
        let first = tokio::spawn(run(doomed, config.clone(), CancellationToken::new()));
        let (client, end, dead) = (bench.client.clone(), stop.clone(), killed.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = dead.cancelled() => first.abort(),
                () = end.cancelled() => { first.abort(); return }
            }
            run(client, config, end).await.expect("a clean end");
        });
        Self {
            stop,
            task,
            writes,
            killed,
        }
    }

    pub(crate) async fn end(self) -> (bool, usize) {
        self.stop.cancel();
        self.task.await.expect("no panic");
        (
            self.killed.is_cancelled(),
            self.writes.load(Ordering::Relaxed),
        )
    }
}

fn scenario() -> Value {
    let mut object = serving("s", 2, &[role("prefill", 1, 1), role("decode", 1, 0)]);
    object["spec"]["rolloutStrategy"] = json!({
        "type": "ServingGroupRollingUpdate", "rollingUpdateConfiguration": { "maxUnavailable": 1 },
    });
    object
}

/// Creation, a rollout, scaling both ways and the loss of a pod.
async fn live_through(bench: &Bench) {
    let mut object = scenario();
    bench.apply(&object).await;
    bench.ready("s").await;
    set_image(&mut object, "engine:2");
    bench.apply(&object).await;
    bench.ready("s").await;
    object["spec"]["replicas"] = json!(1);
    object["spec"]["template"]["roles"][1]["replicas"] = json!(2);
    bench.apply(&object).await;
    bench.ready("s").await;
    let lost = bench
        .pods_api()
        .get("s-0-prefill-0-1")
        .await
        .expect("a pod");
    bench.delete_pod("s-0-prefill-0-1").await;
    eventually("the lost pod is back", SOON, || async {
        let pod = bench.pods_api().get("s-0-prefill-0-1").await.ok()?;
        (pod.uid() != lost.uid()).then_some(())
    })
    .await
    .expect("it comes back");
    bench.ready("s").await;
}

pub(crate) async fn end(bench: &Bench) -> End {
    let revision = |pod: &Pod| pod.labels()[kthena_api::labels::REVISION].clone();
    let image = |pod: &Pod| {
        pod.spec
            .as_ref()
            .and_then(|spec| spec.containers[0].image.clone())
    };
    let pods = bench.pods().await;
    let snapshots: Api<ControllerRevision> =
        Api::namespaced(bench.client.clone(), &bench.namespace);
    let snapshots = snapshots
        .list(&ListParams::default())
        .await
        .expect("snapshots");
    let mut status = serde_json::to_value(bench.status("s").await).expect("JSON");
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let condition = condition.as_object_mut().expect("an object");
        condition.remove("lastTransitionTime");
        // What a false condition said last depends on when it was last looked at.
        if condition["status"] == "False" {
            condition.retain(|key, _| key == "type");
        }
    }
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["status"] == "True");
    }
    End {
        pods: pods
            .iter()
            .map(|pod| {
                (
                    pod.name_any(),
                    (image(pod).unwrap_or_default(), revision(pod)),
                )
            })
            .collect(),
        services: bench.services().await,
        snapshots: snapshots
            .iter()
            .map(|one| {
                (
                    one.name_any(),
                    one.annotations()
                        .get(kthena_api::labels::ROLE_REPLICAS)
                        .cloned(),
                )
            })
            .collect(),
        status,
    }
}

/// A bench in a namespace that is made for it.
pub(crate) async fn in_own_namespace(client: Client, namespace: String) -> Bench {
    let object = serde_json::from_value(objects::namespace(&namespace)).expect("a namespace");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &object)
        .await
        .expect("created");
    Bench { client, namespace }
}

/// Runs `one` undisturbed, which must take more than `least` writes, then once for each of them, killed after it.
pub(crate) async fn after_every_write<E, F>(
    least: usize,
    one: impl Fn(Client, usize, Option<Arc<E>>) -> F,
) where
    E: Send + Sync + 'static,
    F: Future<Output = (E, bool, usize)> + Send + 'static,
{
    let folder = tempfile::tempdir().expect("a folder");
    let server = ApiServer::open(ApiServerConfig::new(folder.path(), "token"))
        .await
        .expect("a server");
    let kubelet = tokio::spawn(kubelet(server.client()));
    let (wanted, was_killed, writes) = one(server.client(), usize::MAX, None).await;
    assert!(!was_killed && writes > least, "{writes} writes");
    let wanted = Arc::new(wanted);

    let mut running = JoinSet::new();
    let mut kills = 0;
    let mut check = |(_, was_killed, _): (E, bool, usize)| kills += usize::from(was_killed);
    for allowed in 1..=writes {
        if running.len() >= PARALLEL {
            check(running.join_next().await.expect("a run").expect("no panic"));
        }
        running.spawn(one(server.client(), allowed, Some(Arc::clone(&wanted))));
    }
    while let Some(run) = running.join_next().await {
        check(run.expect("no panic"));
    }
    // How statuses are joined depends on timing, so the last few runs may need fewer writes than the first did.
    assert!(kills + 8 >= writes, "{kills} of {writes}");
    kubelet.abort();
    server.shutdown().await;
}

/// Waits for an end that is settled, and the one that is wanted if it is known.
pub(crate) async fn same_end<E, L>(
    wanted: Option<Arc<E>>,
    is_settled: impl Fn(&E) -> bool,
    look: impl Fn() -> L,
) -> E
where
    E: PartialEq + Debug,
    L: Future<Output = E>,
{
    eventually_ok("the same end as ever", SOON, || async {
        let end = look().await;
        let is_wanted = wanted.as_ref().is_none_or(|wanted| **wanted == end);
        if is_settled(&end) && is_wanted {
            Ok(end)
        } else {
            Err(end)
        }
    })
    .await
    .expect("an end")
}

/// One run. Answers with the end, whether the controller was killed, and how often it wrote.
async fn one(client: Client, allowed: usize, wanted: Option<Arc<End>>) -> (End, bool, usize) {
    let bench = in_own_namespace(client, format!("killed-{allowed}")).await;
    let controller = Fragile::start(&bench, allowed);
    live_through(&bench).await;
    let is_settled = |end: &End| end.snapshots.len() == 1 && end.status["availableReplicas"] == 1;
    let end = same_end(wanted, is_settled, || end(&bench)).await;
    let (was_killed, writes) = controller.end().await;
    (end, was_killed, writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_write_the_end_is_the_same() {
    after_every_write(20, one).await;
}
