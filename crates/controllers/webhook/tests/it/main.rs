//! The real kube-apiserver asks the webhook, which it finds and trusts as in a cluster.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod router;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::Resource;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::{Target, write};
use kthena_controllers_webhook::{Configuration, Endpoint, Status, WebhookConfig, run};
use kthena_testkit::{ControlPlane, crds, eventually, eventually_ok, objects};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_mins(1);
const CONFIGURATION: &str = "kthena-controller-manager-validating-webhook";
const SECRET: &str = "certs";
static SERIAL: AtomicU32 = AtomicU32::new(0);
/// Configurations are for the whole cluster: one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Hook {
    client: Client,
    namespace: String,
    status: Status,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn client() -> Client {
    let plane = ControlPlane::shared(&[]).await.expect("a control plane");
    let client = plane.client().await.expect("a client");
    let definitions: Vec<CustomResourceDefinition> = kthena_api::crd::all()
        .into_iter()
        .map(|definition| serde_json::from_value(definition).expect("a definition"))
        .collect();
    crds::install(&client, &definitions)
        .await
        .expect("definitions");
    client
}

fn config(namespace: &str, listen: SocketAddr) -> WebhookConfig {
    WebhookConfig {
        listen,
        endpoints: Endpoint::CONTROLLER_MANAGER,
        configurations: Configuration::CONTROLLER_MANAGER,
        namespace: namespace.to_owned(),
        secret: SECRET.to_owned(),
        service: "hook".to_owned(),
        certificate: "/nonexistent/tls.crt".into(),
        key: "/nonexistent/tls.key".into(),
        timeout: Duration::from_secs(30),
        interval: Duration::from_millis(200),
        grace: Duration::from_secs(5),
    }
}

impl Hook {
    async fn start() -> Self {
        Self::start_with(Configuration::CONTROLLER_MANAGER).await
    }

    /// Configurations are for the whole cluster: a second webhook must not tell the API server whom to trust.
    async fn start_with(configurations: &'static [Configuration]) -> Self {
        let client = client().await;
        let namespace = format!("hook-{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        let object: Namespace =
            serde_json::from_value(objects::namespace(&namespace)).expect("a namespace");
        Api::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .expect("created");
        let (status, stop) = (Status::default(), CancellationToken::new());
        let config = WebhookConfig {
            configurations,
            ..config(&namespace, ([127, 0, 0, 1], 0).into())
        };
        let task = tokio::spawn(run(client.clone(), config, status.clone(), stop.clone()));
        Self {
            client,
            namespace,
            status,
            stop,
            task,
        }
    }

    /// Waits until it serves, and tells the API server about it as the chart does: without an authority.
    async fn install(&self) {
        let address = eventually("the webhook serves", SOON, || async {
            self.status.serving()
        })
        .await
        .expect("an address");
        // A service of this kind leads the API server to a port of this machine.
        let service: Service = serde_json::from_value(json!({
            "metadata": { "name": "hook" }, "spec": { "type": "ExternalName", "externalName": "localhost" },
        }))
        .expect("a service");
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        services
            .create(&PostParams::default(), &service)
            .await
            .expect("created");
        self.configurations()
            .patch(
                CONFIGURATION,
                &PatchParams::apply("test").force(),
                &Patch::Apply(&self.configuration(address.port())),
            )
            .await
            .expect("applied");
    }

    fn configuration(&self, port: u16) -> ValidatingWebhookConfiguration {
        serde_json::from_value(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": CONFIGURATION },
            "webhooks": [{
                "name": "validate-workload-ai-v1alpha1-modelserving.volcano.sh",
                "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                "clientConfig": { "service": {
                    "name": "hook", "namespace": self.namespace, "port": port,
                    "path": "/validate-workload-ai-v1alpha1-modelserving",
                } },
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": self.namespace } },
                "rules": [{
                    "apiGroups": ["workload.serving.volcano.sh"], "apiVersions": ["v1alpha1"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["modelservings"],
                }],
            }],
        }))
        .expect("a configuration")
    }

    fn configurations(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    /// Creates an object with that many workers but no template for them; answers with what the server says.
    async fn create(&self, workers: i32) -> Result<(), String> {
        let template = json!({ "spec": { "containers": [{ "name": "c", "image": "i" }] } });
        let object = json!({
            "apiVersion": ModelServing::API_VERSION, "kind": ModelServing::KIND,
            "metadata": { "generateName": "m-" },
            "spec": { "template": { "roles": [
                { "name": "a", "workerReplicas": workers, "entryTemplate": template }] } },
        });
        let target = Target::of::<ModelServing>();
        let created = write::create(&self.client, &target, Some(&self.namespace), &object).await;
        created.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn works(&self) {
        eventually_ok("the API server gets an answer that it trusts", SOON, || {
            self.create(0)
        })
        .await
        .expect("allowed");
        let refusal = self.create(1).await.expect_err("refused");
        let expected = "admission webhook \"validate-workload-ai-v1alpha1-modelserving.volcano.sh\" denied the \
                        request: validation failed:\n  - spec.template.roles[0].workerTemplate";
        assert!(refusal.contains(expected), "{refusal}");
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn stop(self) {
        self.stop.cancel();
        let configurations = self.configurations();
        self.task.await.expect("no panic");
        assert_eq!(self.status.serving(), None);
        configurations
            .delete(CONFIGURATION, &DeleteParams::default())
            .await
            .expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_trusts_what_was_made_and_an_emptied_authority_heals() {
    let _alone = ALONE.lock().await;
    let hook = Hook::start().await;
    hook.install().await;
    hook.works().await;

    let emptied = json!({ "webhooks": hook.configurations().get(CONFIGURATION).await.expect("there").webhooks
        .into_iter().flatten().map(|webhook| {
            let mut webhook = serde_json::to_value(webhook).expect("JSON");
            webhook["clientConfig"]["caBundle"] = Value::Null;
            webhook
        }).collect::<Vec<_>>() });
    hook.configurations()
        .patch(
            CONFIGURATION,
            &PatchParams::default(),
            &Patch::Merge(&emptied),
        )
        .await
        .expect("patched");
    hook.works().await;
    hook.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_other_names_is_renewed_and_served_without_a_restart() {
    let _alone = ALONE.lock().await;
    let hook = Hook::start().await;
    hook.install().await;
    hook.works().await;
    let before = hook.secrets().get(SECRET).await.expect("a secret");

    // The pair of another service, made by another webhook.
    let other = Hook::start_with(&[]).await;
    let source: Api<Secret> = Api::namespaced(hook.client.clone(), &other.namespace);
    let strange = eventually("the other's secret", SOON, || async {
        source.get(SECRET).await.ok()
    })
    .await
    .expect("made");
    other.stop.cancel();
    let patch = json!({ "data": strange.data });
    hook.secrets()
        .patch(SECRET, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .expect("patched");

    eventually_ok("a new pair", SOON, || async {
        let now = hook
            .secrets()
            .get(SECRET)
            .await
            .map_err(|error| error.to_string())?;
        let is_new = now.data != before.data && now.data != strange.data;
        is_new.then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .await
    .expect("renewed");
    hook.works().await;
    hook.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_a_secret_of_somebody_else_is_left_alone_and_a_port_in_use_is_waited_for() {
    let client = client().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = taken.local_addr().expect("an address");
    let namespace = "hook-foreign";
    let object: Namespace =
        serde_json::from_value(objects::namespace(namespace)).expect("a namespace");
    Api::all(client.clone())
        .create(&PostParams::default(), &object)
        .await
        .expect("created");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let foreign: Secret = serde_json::from_value(json!({
        "metadata": { "name": SECRET }, "stringData": { "ca.crt": "something else" },
    }))
    .expect("a secret");
    let before = secrets
        .create(&PostParams::default(), &foreign)
        .await
        .expect("created");
    let (status, stop) = (Status::default(), CancellationToken::new());
    let task = tokio::spawn(run(
        client.clone(),
        WebhookConfig {
            configurations: &[],
            ..config(namespace, address)
        },
        status.clone(),
        stop.clone(),
    ));

    // Once the Secret is gone, one is made; the port is free only later.
    secrets.get(SECRET).await.expect("still there");
    assert_eq!(secrets.get(SECRET).await.expect("there").data, before.data);
    secrets
        .delete(SECRET, &DeleteParams::default())
        .await
        .expect("deleted");
    eventually("a secret of ours", SOON, || async {
        secrets
            .get(SECRET)
            .await
            .ok()?
            .data?
            .get("tls.key")
            .cloned()
    })
    .await
    .expect("made");
    assert_eq!(status.serving(), None);
    drop(taken);
    eventually("it serves", SOON, || async { status.serving() })
        .await
        .expect("an address");
    stop.cancel();
    task.await.expect("no panic");
}
