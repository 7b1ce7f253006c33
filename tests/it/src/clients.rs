//! The OpenAI clients, as published, through the router.

use std::process::Command;

use kthena_testkit::binary;

use crate::machine::{Machine, chat, until};

fn check(language: &str) {
    let machine = Machine::new();
    let folder = binary::repository().join("tests/clients");
    let router = machine.up(&folder.join("models.yaml"));
    until("both models", || {
        let statuses = ["chat", "embed"].map(|model| chat(&router, model, &[]).0);
        (!statuses.contains(&503)).then_some(())
    });

    let output = Command::new(folder.join("check.sh"))
        .arg(language)
        .env("BASE_URL", format!("{router}/v1"))
        .env("MODEL", "chat")
        .env("EMBEDDING_MODEL", "embed")
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("ok     a chat is streamed"), "{said}");
}

#[test]
fn the_python_client_chats_embeds_and_gets_typed_errors() {
    check("python");
}

#[test]
fn the_node_client_chats_embeds_and_gets_typed_errors() {
    check("node");
}
