//! Logs: rotation, following, previous runs, selections.

use std::time::Duration;

use futures::StreamExt;
use kthena_node::{LogOptions, LogReader};

use crate::support::{fixture, fixture_with, read_log, restarts};

#[tokio::test]
async fn old_files_are_dropped_and_the_tail_spans_files() {
    let fixture = fixture_with(|config| {
        config.log_bytes = 4096;
        config.log_files = 3;
    })
    .await;
    fixture.script("chatty", "i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done; echo end; exec sleep 1000").await;
    fixture.logged("chatty", "end").await;

    let all = fixture.log("chatty", "main").await;
    let options = LogOptions {
        tail_lines: Some(120),
        ..LogOptions::default()
    };
    let tail = read_log(
        fixture.state.path(),
        &fixture.namespace,
        "chatty",
        None,
        options,
    )
    .await
    .unwrap();

    assert!(!all.contains("line 0\n"), "the first lines are gone");
    assert_eq!(tail.lines().count(), 120);
    assert!(tail.starts_with("line 881\n"), "{}", &tail[..40]);
    assert!(all.ends_with(&tail));
    let folder = std::fs::read_dir(fixture.state.path().join("pods"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(
        std::fs::read_dir(folder.join("logs/main")).unwrap().count(),
        3
    );
}

#[tokio::test]
async fn a_followed_log_goes_on_through_rotation_and_ends_with_the_container() {
    let fixture = fixture_with(|config| config.log_bytes = 512).await;
    let go = fixture.state.path().join("go");
    let script = format!(
        "echo first; while [ ! -f {} ]; do sleep 0.05; done; i=0; while [ $i -lt 40 ]; do echo line $i; sleep 0.02; i=$((i+1)); done; \
         printf 'no newline'",
        go.display()
    );
    let mut spec = serde_json::json!({ "restartPolicy": "Never" });
    spec["containers"] = serde_json::json!([crate::support::shell("main", &script)]);
    fixture.pod("story", spec).await;
    fixture.logged("story", "first").await;

    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let mut stream = LogReader::new(fixture.state.path())
        .read(&fixture.namespace, "story", None, options)
        .unwrap();
    std::fs::write(go, "").unwrap();
    let mut text = Vec::new();
    while let Some(chunk) = tokio::time::timeout(Duration::from_mins(1), stream.next())
        .await
        .unwrap()
    {
        text.extend_from_slice(&chunk.unwrap());
    }

    let text = String::from_utf8(text).unwrap();
    let expected: Vec<String> = (0..40).map(|line| format!("line {line}")).collect();
    assert_eq!(
        text,
        format!("first\n{}\nno newline\n", expected.join("\n"))
    );
}

#[tokio::test]
async fn the_previous_run_keeps_its_log() {
    let fixture = fixture().await;
    let script =
        "if [ -f seen ]; then echo second; exec sleep 1000; fi; touch seen; echo first; exit 1";
    fixture.script("twice", script).await;
    fixture
        .wait("twice", "it is restarted", |pod| restarts(pod, "main") == 1)
        .await;
    assert_eq!(fixture.logged("twice", "second").await, "second\n");

    let options = LogOptions {
        previous: true,
        ..LogOptions::default()
    };
    let previous = read_log(
        fixture.state.path(),
        &fixture.namespace,
        "twice",
        Some("main"),
        options,
    )
    .await
    .unwrap();

    assert_eq!(previous, "first\n");
}

#[tokio::test]
async fn times_and_limits_select_lines() {
    let fixture = fixture().await;
    fixture
        .script("timed", "echo one; echo two; exec sleep 1000")
        .await;
    fixture.logged("timed", "two").await;
    let read = async |options| {
        read_log(
            fixture.state.path(),
            &fixture.namespace,
            "timed",
            Some("main"),
            options,
        )
        .await
        .unwrap()
    };

    let stamped = read(LogOptions {
        timestamps: true,
        ..LogOptions::default()
    })
    .await;
    let limited = read(LogOptions {
        limit_bytes: Some(5),
        ..LogOptions::default()
    })
    .await;
    let later = jiff::Timestamp::now();
    let none = read(LogOptions {
        since: Some(later),
        ..LogOptions::default()
    })
    .await;

    let times: Vec<jiff::Timestamp> = stamped
        .lines()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(times.len(), 2);
    assert!(times.iter().all(|time| *time < later));
    assert_eq!((limited.as_str(), none.as_str()), ("one\nt", ""));
}

#[tokio::test]
async fn a_missing_log_says_why() {
    let fixture = fixture().await;
    let reader = LogReader::new(fixture.state.path());

    let missing = reader
        .read(&fixture.namespace, "nobody", None, LogOptions::default())
        .err()
        .unwrap();

    assert!(
        missing
            .to_string()
            .ends_with("/nobody has not run on this node"),
        "{missing}"
    );
}
