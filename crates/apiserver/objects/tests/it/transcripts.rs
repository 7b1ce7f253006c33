//! Each transcript holds what a kube-apiserver 1.36 answered to a series of requests; `record.py` beside
//! them makes new ones. The store must answer the same, but for uids, times and versions.

use rstest::rstest;
use serde_json::{Value, json};

use crate::replay::{Server, Step};

#[rstest]
#[case::custom_resources(include_str!("../transcripts/custom.json"))]
#[case::builtin_kinds(include_str!("../transcripts/builtin.json"))]
#[case::random_requests(include_str!("../transcripts/random.json"))]
#[case::namespaces(include_str!("../transcripts/namespaces.json"))]
fn answers_as_the_real_server(#[case] transcript: &str) {
    let transcript: Value = serde_json::from_str(transcript).unwrap();
    let mut server = Server::new();
    let mut differences = Vec::new();
    for (at, value) in transcript["steps"].as_array().unwrap().iter().enumerate() {
        let (code, mut answer) = server.handle(&Step { value });
        let mut wanted = value["answer"].clone();
        normalize(&mut answer);
        normalize(&mut wanted);
        if (json!(code), &answer) != (value["code"].clone(), &wanted) {
            let request = format!("{} {}", value["verb"], value["path"]);
            differences.push(format!(
                "step {at}: {request}\n  body {}\n  want {} {}\n  got  {code} {answer}",
                value["body"], value["code"], wanted
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
}

fn normalize(answer: &mut Value) {
    if let Some(metadata) = answer.get_mut("metadata").and_then(Value::as_object_mut) {
        for volatile in ["uid", "resourceVersion", "creationTimestamp"] {
            metadata.remove(volatile);
        }
        if let Some(time) = metadata.get_mut("deletionTimestamp") {
            *time = json!("set");
        }
        // Empty in the lists of custom resources only.
        metadata.remove("continue");
        if let Some(entries) = metadata
            .get_mut("managedFields")
            .and_then(Value::as_array_mut)
        {
            for entry in entries.iter_mut() {
                entry.as_object_mut().unwrap().remove("time");
            }
            // They are sorted by time, which differs from run to run.
            entries.sort_by_key(|entry| {
                ["operation", "manager", "apiVersion", "subresource"]
                    .map(|member| entry[member].to_string())
            });
        }
    }
    if let Some(causes) = answer
        .pointer_mut("/details/causes")
        .and_then(Value::as_array_mut)
    {
        // The real server lists managers at random and checks some metadata twice.
        causes.sort_by_key(Value::to_string);
        causes.dedup();
    }
    for item in answer
        .get_mut("items")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        normalize(item);
    }
}
