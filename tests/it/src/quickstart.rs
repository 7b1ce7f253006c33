//! The main job.

use std::ffi::OsStr;
use std::process::Stdio;

use rustix::process::Signal;

use crate::machine::{Machine, chat, end, example, until};

#[test]
fn one_command_brings_a_model_up_and_answers_a_chat() {
    let machine = Machine::new();
    let path = example("quickstart");
    let arguments: [&OsStr; 7] = [
        "up".as_ref(),
        "--port=0".as_ref(),
        "-f".as_ref(),
        path.as_ref(),
        "--ask".as_ref(),
        "Why is the sky blue?".as_ref(),
        "--once".as_ref(),
    ];

    let ended = machine.run(&arguments);

    assert!(ended.success, "{}\n{}", ended.stdout, ended.stderr);
    for expected in [
        "qwen: 2 of 2 groups ready",
        "You: Why is the sky blue?",
        "qwen-0-server-0-0",
        "tokens; ",
    ] {
        assert!(
            ended.stdout.contains(expected),
            "{expected:?} is not in\n{}",
            ended.stdout
        );
    }
    assert_eq!(machine.processes(), Vec::<i32>::new());
}

#[test]
fn it_serves_until_it_is_interrupted_and_leaves_nothing_behind() {
    let machine = Machine::new();
    let path = example("quickstart");
    let arguments: [&OsStr; 4] = [
        "up".as_ref(),
        "--port=0".as_ref(),
        "-f".as_ref(),
        path.as_ref(),
    ];
    let child = machine
        .command(&arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("ready", || {
        let text = std::fs::read_to_string(machine.state_dir().join("running.json")).ok()?;
        text.contains("\"ready\":true").then_some(())
    });
    let (status, body) = chat(&machine.router(), "qwen", &[]);
    assert_eq!(
        (status, body["object"].as_str()),
        (200, Some("chat.completion")),
        "{body}"
    );

    let ended = end(child, Signal::INT);

    assert!(ended.success, "{}", ended.stdout);
    assert!(
        ended.stdout.contains("serving on http://127.0.0.1:"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.ends_with("stopping\n"), "{}", ended.stdout);
    assert_eq!(machine.processes(), Vec::<i32>::new());
}

#[test]
fn what_was_up_is_up_again_after_down_and_up() {
    let machine = Machine::new();
    machine.up(&example("quickstart"));
    assert!(machine.run(&["down"]).success);
    assert_eq!(machine.processes(), Vec::<i32>::new());

    let ended = machine.run(&["up", "-d", "--port=0"]);

    assert!(ended.success, "{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(chat(&machine.router(), "qwen", &[]).0, 200);
}
