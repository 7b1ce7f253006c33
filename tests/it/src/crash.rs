//! Killed at any moment, nothing is lost and nothing is left.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::machine::{Machine, chat, example, until};

const KILLS: u32 = 20;

/// Kills the whole program at random moments of a rollout, twenty times.
#[test]
fn kills_in_a_rollout_lose_nothing_and_leave_nothing() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let machine = Machine::new();
    machine.up(&example("quickstart"));

    for round in 0..KILLS {
        let length = format!("{}", 4096 + round);
        let patch = format!(
            "[{{\"op\":\"replace\",\"path\":\"/spec/template/roles/0/entryTemplate/spec/containers/0/args/5\",\"value\":\"{length}\"}}]"
        );
        let patched =
            machine.kubectl(&["patch", "modelserving", "qwen", "--type=json", "-p", &patch]);
        assert!(
            patched.success,
            "seed {seed}, round {round}: {}",
            patched.stderr
        );
        std::thread::sleep(Duration::from_millis(random.u64(0..1500)));
        kill_process(machine.pid(), Signal::KILL).unwrap();

        let ended = until("up again", || {
            let ended = machine.run(&["up", "-d", "--port=0"]);
            (ended.success || !ended.stderr.contains("already runs")).then_some(ended)
        });
        assert!(
            ended.success,
            "seed {seed}, round {round}: {}\n{}",
            ended.stdout, ended.stderr
        );
        let kept = machine.kubectl(&[
            "get",
            "modelserving",
            "qwen",
            "-o",
            "jsonpath={.spec.template.roles[0].entryTemplate.spec.containers[0].args[5]}",
        ]);
        assert_eq!(
            kept.stdout, length,
            "seed {seed}, round {round}: an acknowledged write is lost"
        );
    }

    let wanted = format!("--max-model-len {}", 4096 + KILLS - 1);
    until("both groups on the last revision", || {
        let status = machine.kubectl(&[
            "get",
            "modelserving",
            "qwen",
            "-o",
            "jsonpath={.status.updatedReplicas}/{.status.availableReplicas}",
        ]);
        (status.stdout == "2/2").then_some(())
    });
    let pods = machine.kubectl(&[
        "get",
        "pods",
        "-o",
        "jsonpath={.items[*].spec.containers[0].args}",
    ]);
    assert_eq!(
        pods.stdout.matches(&wanted.replace(' ', "\",\"")).count(),
        2,
        "seed {seed}: {}",
        pods.stdout
    );
    assert_eq!(chat(&machine.router(), "qwen", &[]).0, 200, "seed {seed}");

    let mut down = machine.command(&["down"]);
    assert!(down.stdout(Stdio::null()).status().unwrap().success());
    assert_eq!(
        machine.processes(),
        Vec::<i32>::new(),
        "seed {seed}: stray processes"
    );
}
