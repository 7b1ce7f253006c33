//! Plays the corpus of every target, and for a second each changed copies of it.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers as well"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kthena_fuzz::driver::Driver;
use kthena_fuzz::{TARGETS, Target};
use rstest::rstest;

/// How long each target is tried.
const SECOND: Duration = Duration::from_secs(1);

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    inputs.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap().1
}

/// Says which input it was if the target does not hold.
fn try_on(target: Target, input: &[u8]) {
    let held = std::panic::catch_unwind(|| target(input)).is_ok();
    assert!(held, "the input was b\"{}\"", input.escape_ascii());
}

#[rstest]
fn holds(#[values("body", "headers", "messages", "metrics", "stream")] name: &str) {
    let (target, inputs) = (target(name), corpus(name));
    assert!(!inputs.is_empty(), "{name} has no corpus");
    for input in &inputs {
        try_on(target, input);
    }
    let mut driver = Driver::new(inputs, 1);
    let start = Instant::now();
    while start.elapsed() < SECOND {
        let input = driver.input();
        try_on(target, &input);
    }
}

#[test]
fn every_target_is_played() {
    let mut folders: Vec<String> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
    folders.sort();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(folders, names);
}
