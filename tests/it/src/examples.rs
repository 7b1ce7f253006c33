//! Every example comes up and answers.

use std::collections::BTreeMap;

use crate::machine::{Machine, chat, example, until};

/// Brings an example up and answers the model name that the engine gives for each request.
fn answers(name: &str, requests: &[(&str, &[(&str, &str)])]) -> Vec<(u16, String)> {
    let machine = Machine::new();
    let router = machine.up(&example(name));
    requests
        .iter()
        .map(|(model, headers)| {
            until("an answer", || {
                let (status, body) = chat(&router, model, headers);
                let model = body["model"].as_str().unwrap_or_default().to_owned();
                (status != 503).then_some((status, model))
            })
        })
        .collect()
}

#[test]
fn lora_adapters_keep_their_names_and_the_base_model_is_renamed() {
    let answers = answers(
        "lora",
        &[
            ("qwen-adapters", &[]),
            ("sql", &[]),
            ("legal", &[]),
            ("poetry", &[]),
        ],
    );

    let names: Vec<_> = answers
        .iter()
        .map(|(status, model)| (*status, model.as_str()))
        .collect();
    assert_eq!(
        names,
        [(200, "qwen2.5-7b"), (200, "sql"), (200, "legal"), (404, "")]
    );
}

#[test]
fn a_header_picks_the_model_server() {
    let answers = answers(
        "header-match",
        &[
            ("assistant", &[("X-User-Tier", "premium")]),
            ("assistant", &[]),
        ],
    );

    let names: Vec<_> = answers
        .iter()
        .map(|(status, model)| (*status, model.as_str()))
        .collect();
    assert_eq!(names, [(200, "assistant-large"), (200, "assistant-small")]);
}

#[test]
fn canary_weights_split_the_traffic() {
    let machine = Machine::new();
    let router = machine.up(&example("canary"));
    until("both versions", || {
        (chat(&router, "chat", &[]).0 == 200).then_some(())
    });

    let mut counts = BTreeMap::new();
    for _ in 0..100 {
        let (status, body) = chat(&router, "chat", &[]);
        assert_eq!(status, 200, "{body}");
        *counts
            .entry(body["model"].as_str().unwrap().to_owned())
            .or_insert(0) += 1;
    }

    // 10 % of 100: outside 1..=25 once in some 30,000 runs.
    assert!((1..=25).contains(&counts["chat-v2"]), "{counts:?}");
}

#[test]
fn workers_find_their_entry_pod() {
    let machine = Machine::new();
    let router = machine.up(&example("multi-node"));
    let entry = machine
        .kubectl(&[
            "get",
            "pod",
            "llama-0-node-0-0",
            "-o",
            "jsonpath={.status.podIP}",
        ])
        .stdout;

    let said = until("a worker's log", || {
        let log = machine.run(&["logs", "llama-0-node-0-2"]).stdout;
        log.contains("joins").then_some(log)
    });

    assert!(
        said.contains(&format!("node 2 of 3 joins {entry}:6379")),
        "{said} does not name {entry}"
    );
    assert_eq!(chat(&router, "llama-70b", &[]).0, 200);
}

#[test]
fn a_leader_worker_set_is_served_like_any_model() {
    let machine = Machine::new();
    let router = machine.up(&example("leader-worker-set"));
    let said = until("a worker's log", || {
        let log = machine.run(&["logs", "vllm-1-default-0-1"]).stdout;
        log.contains("joins").then_some(log)
    });
    let address = "jsonpath={.status.podIP}";
    let leader = machine
        .kubectl(&["get", "pod", "vllm-1-default-0-0", "-o", address])
        .stdout;
    let expected = format!("worker 1 of 2 joins {leader}:6379");
    assert!(said.contains(&expected), "{said} lacks {expected}");
    assert_eq!(chat(&router, "llama-8b", &[]).0, 200);

    let scaled = machine.kubectl(&["scale", "lws", "vllm", "--replicas=3"]);
    assert!(scaled.stdout.contains("scaled"), "{}", scaled.stderr);
    until("three groups", || {
        let table = machine.kubectl(&["get", "lws"]).stdout;
        let row: Vec<_> = table.lines().nth(1)?.split_whitespace().collect();
        (row.get(..4) == Some(&["vllm", "3", "3", "3"])).then_some(())
    });

    machine.kubectl(&["delete", "lws", "vllm"]);
    until("nothing is left", || {
        let left = machine.kubectl(&["get", "lws,modelservings,pods", "-o", "name"]);
        left.stdout.is_empty().then_some(())
    });
}

#[test]
fn prefill_and_decode_pods_come_up_in_one_group() {
    let machine = Machine::new();
    machine.up(&example("prefill-decode"));

    let pods = machine.kubectl(&[
        "get",
        "pods",
        "-l",
        "modelserving.volcano.sh/group-name=pd-0",
        "--sort-by=.metadata.name",
        "-o",
        "name",
    ]);

    assert_eq!(
        pods.stdout, "pod/pd-0-decode-0-0\npod/pd-0-decode-0-1\npod/pd-0-prefill-0-0\n",
        "{}",
        pods.stderr
    );
}

#[test]
fn a_plain_deployment_serves_too() {
    let answers = answers("deployment", &[("plain", &[])]);

    assert_eq!(answers, [(200, "plain".to_owned())]);
}
