//! The OpenAI SDKs, as published, through the router.

use std::process::Command;

use kthena_testkit::binary;

use crate::machine::{Machine, example};

fn check(program: &str, script: &str) {
    let machine = Machine::new();
    let router = machine.up(&example("quickstart"));
    let root = binary::repository();

    let output = Command::new(root.join(program))
        .arg(root.join(script))
        .env("BASE_URL", format!("{router}/v1"))
        .env("MODEL", "qwen")
        .output()
        .unwrap();

    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
