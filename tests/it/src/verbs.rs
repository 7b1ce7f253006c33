//! `get`, `describe`, `rollout` and `explain` against the API server and the router of local mode.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use kthena_testkit::binary;
use rustix::process::Signal;
use serde_json::Value;

use crate::machine::{Ended, Machine, end, ended, example, until};

/// `kthena …` with the kubeconfig of this machine.
fn kthena(machine: &Machine, line: &str) -> Ended {
    ended(&command(machine, line).output().unwrap())
}

fn command(machine: &Machine, line: &str) -> Command {
    let mut command = Command::new(binary::kthena().unwrap());
    command
        .args(line.split(' '))
        .env("KTHENA_STATE_DIR", machine.state_dir())
        .env("KUBECONFIG", machine.state_dir().join("kubeconfig"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

/// What a command that must succeed says.
fn told(machine: &Machine, line: &str) -> String {
    let ended = kthena(machine, line);
    assert!(
        ended.success,
        "kthena {line}\n{}\n{}",
        ended.stdout, ended.stderr
    );
    ended.stdout
}

/// Why a command that must fail did.
fn refused(machine: &Machine, line: &str) -> String {
    let ended = kthena(machine, line);
    assert!(!ended.success, "kthena {line}\n{}", ended.stdout);
    ended.stderr
}

fn assert_has(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// The cells of a table, row by row, less the header.
fn cells(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().skip(1);
    rows.map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn models_are_listed_in_every_format_and_described() {
    let machine = Machine::new();
    machine.up(&example("quickstart"));

    let table = told(&machine, "get modelservings");
    assert_eq!(
        cells(&table)[0][..5],
        ["qwen", "2/2", "2", "2", "Available"]
    );
    assert_has(
        &told(&machine, "get ms -A -o wide"),
        &["NAMESPACE", "default", "server 2/2"],
    );
    assert_eq!(
        told(&machine, "get ms -l team!=a -o name"),
        "modelserving.workload.serving.volcano.sh/qwen\n"
    );
    let list: Value = serde_json::from_str(&told(&machine, "get ms -o json")).unwrap();
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"][0]["spec"]["replicas"], 2);
    assert_has(
        &told(&machine, "get ms qwen -o yaml"),
        &["kind: ModelServing\n", "  name: qwen\n"],
    );
    assert_eq!(
        told(&machine, "get ms -l app=none"),
        "No resources found.\n"
    );
    assert_eq!(
        refused(&machine, "get ms nobody"),
        "error: modelservings.workload.serving.volcano.sh \"nobody\" not found; \
         `kthena get modelservings -A` lists those that there are\n"
    );

    let about = told(&machine, "describe ms qwen");
    assert_has(
        &about,
        &["2 wanted, 2 exist", "qwen-1-server-0-0", "RoleRunning"],
    );
}

#[test]
fn a_decision_is_explained_without_naming_the_router() {
    let machine = Machine::new();
    machine.up(&example("quickstart"));

    let decision = until("the router knows the pods", || {
        let ended = kthena(&machine, "explain --model qwen --prompt hi");
        ended.success.then_some(ended.stdout)
    });

    assert_has(
        &decision,
        &["default/qwen", "qwen-0-server-0-0", "qwen-1-server-0-0"],
    );
}

#[test]
fn a_rollout_is_held_resumed_watched_and_taken_back() {
    let machine = Machine::new();
    machine.up(&example("quickstart"));
    let first = cells(&told(&machine, "rollout history ms qwen"))[0][0].to_owned();

    told(&machine, "rollout pause ms qwen");
    let image = r#"[{"op":"replace","path":"/spec/template/roles/0/entryTemplate/spec/containers/0/image","value":"vllm/vllm-openai:v0.12.0"}]"#;
    let patched = machine.kubectl(&["patch", "modelserving", "qwen", "--type=json", "-p", image]);
    assert!(patched.success, "{}", patched.stderr);
    let held = until("a held rollout", || {
        let ended = kthena(&machine, "rollout status ms qwen");
        (!ended.success).then_some(ended.stderr)
    });
    assert_has(&held, &["paused: 0 of 2 groups updated"]);
    assert_has(
        &told(&machine, "rollout history ms qwen"),
        &[&first, "v0.11.0", "v0.12.0"],
    );

    told(&machine, "rollout undo ms qwen");
    until("the first revision is wanted again", || {
        let history = told(&machine, "rollout history ms qwen");
        let mut rows = history.lines();
        rows.any(|row| row.starts_with(&first) && row.contains("wanted, current"))
            .then_some(())
    });

    let patched = machine.kubectl(&["patch", "modelserving", "qwen", "--type=json", "-p", image]);
    assert!(patched.success, "{}", patched.stderr);
    told(&machine, "rollout resume ms qwen");
    let done = told(&machine, "rollout status ms qwen --timeout 120");
    assert_has(&done, &["rolled out: 2 of 2 groups updated"]);
    assert_has(
        &refused(&machine, "rollout undo ms qwen --to-revision none"),
        &["revision none is not stored"],
    );
    assert_has(
        &refused(&machine, "rollout undo ms qwen"),
        &[
            "none before it is stored",
            "apply the manifest of the one before",
            "spec.revisionHistoryLimit",
        ],
    );
    let second = cells(&told(&machine, "rollout history ms qwen"))[0][0].to_owned();
    assert_has(
        &told(
            &machine,
            &format!("rollout history ms qwen --revision {second}"),
        ),
        &["- name: server\n", "image: vllm/vllm-openai:v0.12.0"],
    );

    // With a history, there and back again after all groups were replaced.
    let kept = r#"{"spec":{"revisionHistoryLimit":3}}"#;
    let patched = machine.kubectl(&["patch", "modelserving", "qwen", "--type=merge", "-p", kept]);
    assert!(patched.success, "{}", patched.stderr);
    let third = image.replace("v0.12.0", "v0.13.0");
    let patched = machine.kubectl(&["patch", "modelserving", "qwen", "--type=json", "-p", &third]);
    assert!(patched.success, "{}", patched.stderr);
    told(&machine, "rollout status ms qwen --timeout 120");
    for wanted in ["v0.12.0", "v0.13.0"] {
        told(&machine, "rollout undo ms qwen");
        told(&machine, "rollout status ms qwen --timeout 120");
        let history = told(&machine, "rollout history ms qwen");
        let rows = cells(&history);
        assert_eq!(rows.len(), 2, "{history}");
        assert_has(
            history.lines().last().unwrap(),
            &[wanted, "wanted, current"],
        );
    }
}

#[test]
fn changes_are_followed_in_the_columns_of_the_table() {
    let machine = Machine::new();
    machine.up(&example("quickstart"));
    let mut watching = command(&machine, "get ms qwen -w")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let header = next();
    assert_has(&next(), &["2/2", "Available"]);

    let replicas = r#"{"spec":{"replicas":1}}"#;
    machine.kubectl(&[
        "patch",
        "modelserving",
        "qwen",
        "--type=merge",
        "-p",
        replicas,
    ]);

    // The spec, then the status as the second group goes.
    let mut row = next();
    while !row.contains("1/1") {
        row = next();
    }
    let column = header.find("STATUS").unwrap();
    assert!(row[column..].starts_with("Available"), "{header}\n{row}");
    end(watching, Signal::TERM);
}

#[test]
fn what_keeps_it_from_the_cluster_is_told_with_a_way_out() {
    let machine = Machine::new();
    let kubeconfig = machine.state_dir().join("kubeconfig");
    assert_has(
        &refused(&machine, "get ms"),
        &["export KUBECONFIG=\"$(kthena local kubeconfig)\""],
    );

    machine.up(&example("quickstart"));
    assert!(machine.run(&["down"]).success);
    assert!(kubeconfig.exists());
    assert_has(
        &refused(&machine, "get ms"),
        &["the API server cannot be reached", "kthena local status"],
    );
}
