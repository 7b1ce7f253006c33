//! What only the embedded server can be asked, because its history can be made short.

use std::time::Duration;

use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kthena_apiserver_rest::{ApiServer, ApiServerConfig, LogLimits};
use kthena_testkit::objects;
use kube::Api;
use kube::api::PostParams;
use kube::client::Body;
use serde_json::Value;
use tokio::time::timeout;

use crate::runtime;

const DEADLINE: Duration = Duration::from_secs(30);

async fn short_memory(folder: &std::path::Path) -> ApiServer {
    let history = LogLimits {
        changes: 8,
        bytes: 1 << 20,
    };
    ApiServer::open(ApiServerConfig {
        history,
        ..ApiServerConfig::new(folder, "token")
    })
    .await
    .unwrap()
}

async fn make(api: &Api<ConfigMap>, name: &str) -> String {
    let object = serde_json::from_value(objects::config_map(name, "k", "v")).unwrap();
    let made = api.create(&PostParams::default(), &object).await.unwrap();
    made.metadata.resource_version.unwrap()
}

/// The first line that a watch from `version` gives, or the body of its refusal.
async fn first_line(server: &ApiServer, version: &str) -> Value {
    let path = format!("/api/v1/namespaces/default/configmaps?watch=1&resourceVersion={version}");
    let request = http::Request::get(path).body(Body::empty()).unwrap();
    let mut body = timeout(DEADLINE, server.client().send(request))
        .await
        .unwrap()
        .unwrap()
        .into_body();
    let frame = timeout(DEADLINE, body.frame())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    serde_json::from_slice(&frame.into_data().unwrap()).unwrap()
}

#[test]
fn a_version_older_than_the_history_is_expired() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = short_memory(folder.path()).await;
        let api: Api<ConfigMap> = Api::namespaced(server.client(), "default");
        let first = make(&api, "first").await;
        let mut last = String::new();
        for number in 0..20 {
            last = make(&api, &format!("c{number}")).await;
        }

        let expired = first_line(&server, &first).await;
        let status = expired.get("object").unwrap_or(&expired);
        assert_eq!(
            (&status["code"], &status["reason"]),
            (&410.into(), &"Expired".into()),
            "{expired}"
        );
        make(&api, "next").await;
        let followed = first_line(&server, &last).await;
        assert_eq!(followed["object"]["metadata"]["name"], "next");
        server.shutdown().await;
    });
}

#[test]
fn what_was_acknowledged_is_there_after_a_reopening_and_versions_go_on() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = short_memory(folder.path()).await;
        let api: Api<ConfigMap> = Api::namespaced(server.client(), "default");
        let before = make(&api, "kept").await;
        server.shutdown().await;
        drop(server);

        let server = short_memory(folder.path()).await;
        let api: Api<ConfigMap> = Api::namespaced(server.client(), "default");
        assert_eq!(
            api.get("kept").await.unwrap().metadata.resource_version,
            Some(before.clone())
        );
        let after = make(&api, "later").await;
        assert!(after.parse::<u64>().unwrap() > before.parse::<u64>().unwrap());
        server.shutdown().await;
    });
}
