//! The router's webhook: what the real kube-apiserver refuses on its word.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kthena_cluster::{Target, write};
use kthena_controllers_webhook::{Configuration, Endpoint, Status, WebhookConfig, run};
use kthena_testkit::{eventually, eventually_ok, objects};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{SOON, client, config};

const CONFIGURATION: &str = "kthena-router-validating-webhook";
const NAMESPACE: &str = "hook-router";

/// As the chart installs it: the three kinds, and no authority.
fn configuration(port: u16) -> ValidatingWebhookConfiguration {
    let kinds = [
        ("modelroute", "modelroutes"),
        ("modelserver", "modelservers"),
        ("externalmodelprovider", "externalmodelproviders"),
    ];
    let webhooks = kinds.map(|(kind, plural)| {
        json!({
            "name": format!("validate-{kind}.volcano.sh"),
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "clientConfig": { "service": {
                "name": "hook", "namespace": NAMESPACE, "port": port, "path": format!("/validate/{kind}"),
            } },
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": NAMESPACE } },
            "rules": [{
                "apiGroups": ["networking.serving.volcano.sh"], "apiVersions": ["v1alpha1"],
                "operations": ["CREATE", "UPDATE"], "resources": [plural], "scope": "Namespaced",
            }],
        })
    });
    serde_json::from_value(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": CONFIGURATION }, "webhooks": webhooks,
    }))
    .expect("a configuration")
}

async fn create(client: &Client, kind: &str, spec: Value) -> Result<(), String> {
    let target = Target {
        api_version: "networking.serving.volcano.sh/v1alpha1".to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    let object = json!({
        "apiVersion": target.api_version, "kind": kind, "metadata": { "generateName": "x-" }, "spec": spec,
    });
    let created = write::create(client, &target, Some(NAMESPACE), &object).await;
    created.map(|_| ()).map_err(|error| error.to_string())
}

fn route(weight: u32) -> Value {
    json!({ "modelName": "m", "rules": [{ "targetModels": [{ "modelServerName": "s", "weight": weight }] }] })
}

async fn install(client: &Client, port: u16) -> Api<ValidatingWebhookConfiguration> {
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": "hook" }, "spec": { "type": "ExternalName", "externalName": "localhost" },
    }))
    .expect("a service");
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let params = PostParams::default();
    services.create(&params, &service).await.expect("created");
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let apply = PatchParams::apply("test").force();
    configurations
        .patch(CONFIGURATION, &apply, &Patch::Apply(&configuration(port)))
        .await
        .expect("applied");
    configurations
}

#[tokio::test(flavor = "multi_thread")]
async fn w6_the_api_server_asks_about_all_three_kinds() {
    let client = client().await;
    let namespace: Namespace =
        serde_json::from_value(objects::namespace(NAMESPACE)).expect("a namespace");
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .expect("created");
    let (status, stop) = (Status::default(), CancellationToken::new());
    let config = WebhookConfig {
        endpoints: Endpoint::ROUTER,
        configurations: Configuration::ROUTER,
        ..config(NAMESPACE, ([127, 0, 0, 1], 0).into())
    };
    let task = tokio::spawn(run(client.clone(), config, status.clone(), stop.clone()));
    let address = eventually("the webhook serves", SOON, || async { status.serving() })
        .await
        .expect("an address");
    let configurations = install(&client, address.port()).await;

    eventually_ok("the API server gets an answer that it trusts", SOON, || {
        create(&client, "ModelRoute", route(100))
    })
    .await
    .expect("allowed");
    let provider = json!({ "baseURL": "https://api.example.com", "headers": { "Host": "x" } });
    let server = json!({
        "inferenceEngine": "vLLM", "workloadPort": { "port": 8000 },
        "workloadSelector": { "matchLabels": { "a b": "c" } },
    });
    let cases = [
        (
            "ModelRoute",
            route(0),
            "total weight must be greater than zero",
        ),
        ("ModelServer", server, "invalid selector"),
        ("ExternalModelProvider", provider, "header is reserved"),
    ];
    for (kind, spec, expected) in cases {
        let refusal = create(&client, kind, spec).await.expect_err("refused");
        let webhook = format!("validate-{}.volcano.sh", kind.to_lowercase());
        assert!(
            refusal.contains(&webhook) && refusal.contains(expected),
            "{refusal}"
        );
    }

    stop.cancel();
    task.await.expect("no panic");
    configurations
        .delete(CONFIGURATION, &DeleteParams::default())
        .await
        .expect("deleted");
}
