use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use rstest::rstest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::check::{Check, ExecCheck, HttpCheck};
use super::writer::difference;
use crate::launch::env::{EnvError, Sources, resolve};
use crate::machine::request::Amount;

const LIMIT: Duration = Duration::from_secs(10);

/// A server that gives one answer and returns what it was asked.
async fn one_answer(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let count = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    (port, task)
}

fn http(port: u16, headers: &[(&str, &str)]) -> Check {
    Check::Http(HttpCheck {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port,
        path: "healthz".to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    })
}

#[rstest]
#[case::ok("HTTP/1.1 200 OK\r\n\r\n", Ok(()))]
#[case::redirect("HTTP/1.0 302 Found\r\n\r\n", Ok(()))]
#[case::unavailable(
    "HTTP/1.1 503 Busy\r\n\r\n",
    Err("HTTP check failed with status code: 503")
)]
#[case::not_http("SSH-2.0-x\r\n", Err("the answer is not HTTP"))]
#[tokio::test]
async fn http_checks(#[case] answer: &'static str, #[case] expected: Result<(), &str>) {
    let (port, server) = one_answer(answer).await;

    let result = http(port, &[]).run(LIMIT).await;

    match expected {
        Ok(()) => assert_eq!(result, Ok(())),
        Err(part) => assert!(result.unwrap_err().contains(part)),
    }
    assert!(
        server
            .await
            .unwrap()
            .starts_with("GET /healthz HTTP/1.1\r\n")
    );
}

#[tokio::test]
async fn headers_of_the_user_replace_the_usual_ones() {
    let (port, server) = one_answer("HTTP/1.1 200 OK\r\n\r\n").await;

    http(port, &[("host", "model.example"), ("X-Key", "k")])
        .run(LIMIT)
        .await
        .unwrap();

    let request = server.await.unwrap();
    assert!(request.contains("host: model.example\r\n") && request.contains("X-Key: k\r\n"));
    assert!(!request.contains("Host: 127"), "{request}");
}

fn command(script: &str) -> Check {
    Check::Exec(ExecCheck {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        cwd: "/".into(),
    })
}

#[tokio::test]
async fn a_command_that_fails_is_quoted() {
    let failed = command("echo oh no >&2; exit 4")
        .run(LIMIT)
        .await
        .unwrap_err();

    assert!(failed.contains("oh no") && failed.contains('4'), "{failed}");
}

#[tokio::test]
async fn a_command_that_leaves_a_child_behind_still_ends() {
    assert_eq!(command("sleep 1000 & exit 0").run(LIMIT).await, Ok(()));
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let late = command("sleep 1000")
        .run(Duration::from_millis(50))
        .await
        .unwrap_err();

    assert!(late.contains("timed out"), "{late}");
}

#[test]
fn an_equal_status_makes_no_difference() {
    let status = |phase: &str, ready: &str| -> PodStatus {
        serde_json::from_value(json!({
            "phase": phase,
            "reason": if phase == "Failed" { Some("Evil") } else { None },
            "conditions": [{ "type": "Ready", "status": ready }, { "type": "PodScheduled", "status": "True" }],
        }))
        .unwrap()
    };
    let running = status("Running", "True");

    assert_eq!(difference(Some(&running), &running), None);
    let turned = difference(Some(&running), &status("Running", "False")).unwrap();
    assert_eq!(
        json!(turned),
        json!({ "conditions": [{ "type": "Ready", "status": "False" }] })
    );
    let cleared = difference(Some(&status("Failed", "True")), &running).unwrap();
    assert_eq!(
        json!(cleared),
        json!({ "phase": "Running", "reason": null })
    );
}

fn container(env: &serde_json::Value) -> Container {
    serde_json::from_value(json!({ "name": "c", "env": env })).unwrap()
}

fn resolved(env: &serde_json::Value) -> Result<BTreeMap<String, String>, EnvError> {
    let pod: Pod =
        serde_json::from_value(json!({ "metadata": { "name": "p", "labels": { "a.b/c": "d" } } }))
            .unwrap();
    let (config_maps, secrets) = (BTreeMap::new(), BTreeMap::new());
    let sources = Sources {
        pod: &pod,
        pod_ip: "127.64.0.1",
        host_ip: "127.0.0.1",
        node_name: "n",
        node: Amount {
            cpu_milli: 2500,
            ..Amount::default()
        },
        config_maps: &config_maps,
        secrets: &secrets,
    };
    resolve(&container(env), &sources)
}

#[rstest]
#[case::later_variables_are_not_seen(json!([{"name":"A","value":"$(B)"},{"name":"B","value":"1"}]), "A", "$(B)")]
#[case::earlier_ones_are(json!([{"name":"B","value":"1"},{"name":"A","value":"$(B)"}]), "A", "1")]
#[case::the_last_of_a_name_wins(json!([{"name":"A","value":"1"},{"name":"A","value":"2$(A)"}]), "A", "21")]
#[case::label(json!([{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['a.b/c']"}}}]), "A", "d")]
#[case::missing_label(json!([{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['x']"}}}]), "A", "")]
#[case::node_for_limit(json!([{"name":"A","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}]), "A", "3")]
#[case::divisor(
    json!([{"name":"A","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"1m"}}}]), "A", "2500"
)]
fn variables(#[case] env: serde_json::Value, #[case] name: &str, #[case] expected: &str) {
    assert_eq!(resolved(&env).unwrap()[name], expected);
}

#[test]
fn a_missing_key_is_named() {
    let env =
        json!([{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }]);

    assert_eq!(
        resolved(&env).unwrap_err().to_string(),
        "secret \"s\" not found"
    );
}
