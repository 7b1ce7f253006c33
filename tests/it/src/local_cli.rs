//! Every way to hold it wrong has its message.

use std::net::TcpListener;

use crate::machine::{Machine, example};

#[test]
fn a_second_up_says_who_runs_and_what_to_do() {
    let machine = Machine::new();
    let router = machine.up(&example("quickstart"));

    let ended = machine.run(&["up", "--port=0"]);

    assert!(!ended.success);
    assert!(
        ended.stderr.contains("kthena already runs on"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains(&format!("serving on {router}")),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("kthena local down"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_busy_port_is_named() {
    let machine = Machine::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();

    let ended = machine.run(&["up", &format!("--port={port}")]);

    assert!(!ended.success);
    assert!(
        ended
            .stderr
            .contains(&format!("port {port} of 127.0.0.1: Address already in use")),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("--port picks another"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let machine = Machine::new();

    let ended = machine.run(&["up", "--port=0", "-f", "/nowhere/model.yaml"]);

    assert!(!ended.success);
    assert!(
        ended
            .stderr
            .contains("/nowhere/model.yaml: No such file or directory"),
        "{}",
        ended.stderr
    );
}

const THREE_FAULTS: &str = "\
apiVersion: workload.serving.volcano.sh/v1alpha1
kind: ModelServing
metadata:
  name: broken
spec:
  recoveryPolicy: Maybe
  template:
    roles:
    - name: this-name-is-too-long
      entryTemplate:
        spec:
          containers:
          - name: a
      workerReplicas: many
";

#[test]
fn all_faults_of_a_manifest_are_reported_with_file_line_and_field() {
    let machine = Machine::new();
    let file = machine.write("broken.yaml", THREE_FAULTS);

    let ended = machine.run(&["up", "--port=0", "-f", file.to_str().unwrap()]);

    assert!(!ended.success);
    let file = file.display();
    for expected in [
        format!("{file}:6: spec.recoveryPolicy: "),
        format!("{file}:9: spec.template.roles[0].name: "),
        format!("{file}:14: spec.template.roles[0].workerReplicas: "),
    ] {
        assert!(
            ended.stderr.contains(&expected),
            "{expected:?} is not in\n{}",
            ended.stderr
        );
    }
}

#[test]
fn an_unknown_kind_is_named_with_what_may_have_been_meant() {
    let machine = Machine::new();
    let file = machine.write(
        "kind.yaml",
        "apiVersion: serving/v1\nkind: modelServing\nmetadata:\n  name: a\n",
    );

    let ended = machine.run(&["up", "--port=0", "-f", file.to_str().unwrap()]);

    assert!(!ended.success);
    assert!(
        ended.stderr.contains(
            "kind.yaml:2: no kind \"modelServing\" in \"serving/v1\"; did you mean \
            workload.serving.volcano.sh/v1alpha1 ModelServing?"
        ),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_program_that_is_not_there_is_named_in_the_pods_events() {
    let machine = Machine::new();
    let file = machine.write(
        "missing.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: lost\nspec:\n  containers:\n  - name: a\n    image: example/tool\n    \
         command: [no-such-program]\n",
    );
    let mut child = machine
        .command(&["up", "--port=0", "-f", file.to_str().unwrap()])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();

    let event = crate::machine::until("an event", || {
        let events = machine
            .kubectl(&["get", "events", "-o", "jsonpath={.items[*].message}"])
            .stdout;
        events.contains("no-such-program").then_some(events)
    });

    assert!(event.contains("PATH"), "{event}");
    assert!(machine.run(&["down"]).success);
    child.wait().unwrap();
}

#[test]
fn what_needs_a_running_kthena_says_how_to_start_it() {
    let machine = Machine::new();
    let quickstart = example("quickstart");
    let apply = ["apply", "-f", quickstart.to_str().unwrap()];

    for command in [&["status"][..], &["logs", "pod"], &["down"], &apply] {
        let ended = machine.run(command);
        assert!(!ended.success, "{command:?}");
        assert!(
            ended
                .stderr
                .contains("start it with `kthena local up -f FILE`"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn status_shows_groups_pods_and_load_and_kubectl_the_same_objects() {
    let machine = Machine::new();
    machine.up(&example("quickstart"));

    let status = machine.run(&["status"]);
    let servings = machine.kubectl(&["get", "modelservings"]);

    assert!(status.success, "{}", status.stderr);
    for expected in [
        "qwen  2/2 groups ready",
        "qwen-1-server-0-0",
        "0 running, 0 waiting",
    ] {
        assert!(
            status.stdout.contains(expected),
            "{expected:?} is not in\n{}",
            status.stdout
        );
    }
    assert!(
        servings
            .stdout
            .starts_with("NAME   REPLICAS   AVAILABLE   UPDATED   AGE\nqwen   2          2"),
        "{}",
        servings.stdout
    );
}

#[test]
fn an_apply_changes_what_runs_or_nothing_at_all() {
    let machine = Machine::new();
    machine.up(&example("quickstart"));
    let replicas = || {
        let path = "jsonpath={.spec.replicas}";
        machine
            .kubectl(&["get", "modelserving", "qwen", "-o", path])
            .stdout
    };
    let good = std::fs::read_to_string(example("quickstart").join("model-serving.yaml")).unwrap();
    let good = machine.write("good.yaml", &good.replace("replicas: 2", "replicas: 1"));
    let bad = machine.write("broken.yaml", THREE_FAULTS);
    let [good, bad] = [&good, &bad].map(|path| path.to_str().unwrap());

    let refused = machine.run(&["apply", "-f", good, "-f", bad]);
    assert!(!refused.success);
    let expected = format!("{bad}:6: spec.recoveryPolicy: ");
    assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    assert_eq!(replicas(), "2", "none of them is applied");

    let applied = machine.run(&["apply", "-f", good]);
    assert_eq!(applied.stdout, "modelserving/qwen applied\n");
    assert_eq!(replicas(), "1");
}

#[test]
fn a_reset_forgets_everything_but_not_under_a_running_program() {
    let machine = Machine::new();
    machine.up(&example("quickstart"));

    let refused = machine.run(&["reset"]);
    assert!(
        refused
            .stderr
            .contains("stop it first with `kthena local down`"),
        "{}",
        refused.stderr
    );
    assert!(machine.run(&["down"]).success);
    assert!(machine.run(&["reset"]).success);

    assert!(!machine.state_dir().exists());
}
