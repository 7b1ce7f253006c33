use rstest::rstest;
use serde_json::json;

use super::*;
use crate::testing::{Bench, config_maps};
use crate::write::{DeleteOptions, Part};

fn map(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"on": "yes"}}})
}

fn query(labels: &str) -> WatchQuery {
    WatchQuery {
        resource: config_maps().group_resource,
        namespace: Some("a".to_owned()),
        labels: LabelSelector::parse(labels).unwrap(),
        fields: FieldSelector::default(),
    }
}

fn told(batch: &WatchBatch) -> Vec<(&'static str, &str)> {
    batch
        .events
        .iter()
        .map(|event| (event.kind.word(), event.object.name()))
        .collect()
}

fn switch(bench: &mut Bench, name: &str, on: &str) {
    let edit = |object: &mut serde_json::Value| object["metadata"]["labels"]["on"] = json!(on);
    bench
        .edit(&config_maps(), ("a", name), Part::Main, edit)
        .unwrap();
}

#[test]
fn selectors_turn_changes_into_comings_and_goings() {
    let mut bench = Bench::new();
    let start = bench.store.version();
    bench.create(&config_maps(), "a", map("m")).unwrap();
    switch(&mut bench, "m", "no");
    switch(&mut bench, "m", "maybe");
    switch(&mut bench, "m", "yes");
    bench.create(&config_maps(), "b", map("elsewhere")).unwrap();
    bench
        .delete(&config_maps(), ("a", "m"), DeleteOptions::default())
        .unwrap();

    let batch = bench.store.poll_watch(&query("on=yes"), start).unwrap();
    assert_eq!(
        told(&batch),
        [
            ("ADDED", "m"),
            ("DELETED", "m"),
            ("ADDED", "m"),
            ("DELETED", "m")
        ]
    );
    let lost = batch.events[1].object.value();
    assert_eq!(
        lost["metadata"]["labels"]["on"], "yes",
        "the last state the watch could see"
    );
    assert_eq!(
        batch.events[1].object.version(),
        start + 2,
        "at the version it went out of sight"
    );

    let all = bench.store.poll_watch(&query(""), start).unwrap();
    assert_eq!(told(&all).len(), 5);
    assert_eq!(
        all.events[4].object.version(),
        bench.store.version(),
        "a deletion has a version of its own"
    );
}

#[rstest]
#[case::by_count(LogLimits { changes: 3, bytes: usize::MAX })]
#[case::by_size(LogLimits { changes: usize::MAX, bytes: 1_500 })]
fn a_slow_watch_is_cut(#[case] limits: LogLimits) {
    let mut bench = Bench::with_limits(limits);
    let slow = bench.store.version();
    for at in 0..10 {
        bench
            .create(&config_maps(), "a", map(&format!("m{at}")))
            .unwrap();
    }
    assert!(bench.store.log().len() <= 3 || bench.store.log().bytes() <= 1_500);
    let error = bench.store.poll_watch(&query(""), slow).unwrap_err();
    assert_eq!(error.code_and_reason(), (410, "Expired"));
    assert!(
        error
            .to_string()
            .starts_with("too old resource version: 2 ("),
        "{error}"
    );
    let fresh = bench.store.log().compacted();
    assert!(
        !bench
            .store
            .poll_watch(&query(""), fresh)
            .unwrap()
            .events
            .is_empty()
    );
}

fn start(raw: &RawListOptions) -> WatchStart {
    raw.watch_query(&config_maps(), Some("a")).unwrap().1
}

#[test]
fn options_choose_where_a_watch_begins() {
    let version = |version: &str| RawListOptions {
        resource_version: Some(version.to_owned()),
        ..RawListOptions::default()
    };
    let streaming = |send: bool, at: &str| RawListOptions {
        send_initial_events: Some(send),
        resource_version_match: Some("NotOlderThan".to_owned()),
        ..version(at)
    };
    let begins = |raw: &RawListOptions| (start(raw).after, start(raw).initial);
    assert_eq!(
        begins(&RawListOptions::default()),
        (None, InitialEvents::Send)
    );
    assert_eq!(begins(&version("0")), (None, InitialEvents::Send));
    assert_eq!(begins(&version("7")), (Some(7), InitialEvents::Skip));
    assert_eq!(
        begins(&streaming(true, "")),
        (None, InitialEvents::SendAndMark)
    );
    assert_eq!(
        begins(&streaming(true, "7")),
        (Some(7), InitialEvents::SendAndMark)
    );
    assert_eq!(begins(&streaming(false, "0")), (None, InitialEvents::Skip));
    assert_eq!(
        begins(&streaming(false, "7")),
        (Some(7), InitialEvents::Skip)
    );

    let unmatched = RawListOptions {
        send_initial_events: Some(true),
        ..RawListOptions::default()
    };
    assert_eq!(
        unmatched
            .watch_query(&config_maps(), None)
            .unwrap_err()
            .code(),
        422
    );
    let stray = RawListOptions {
        resource_version_match: Some("Exact".to_owned()),
        ..version("1")
    };
    assert_eq!(
        stray.watch_query(&config_maps(), None).unwrap_err().code(),
        422
    );
}

#[test]
fn a_streamed_list_is_marked_as_complete() {
    let mut bench = Bench::new();
    bench.create(&config_maps(), "a", map("m")).unwrap();
    let from = WatchStart {
        after: None,
        initial: InitialEvents::SendAndMark,
    };
    let batch = bench.store.start_watch(&query(""), from).unwrap();
    assert_eq!(told(&batch), [("ADDED", "m")]);
    assert!(batch.marks_initial_end);
    let mark = bookmark("v1", "ConfigMap", batch.cursor, true);
    assert_eq!(
        mark["metadata"]["annotations"],
        json!({"k8s.io/initial-events-end": "true"})
    );
    assert_eq!(
        mark["metadata"]["resourceVersion"],
        batch.cursor.to_string()
    );
    assert_eq!(
        bookmark("v1", "ConfigMap", 5, false)["metadata"]["annotations"],
        json!(null)
    );
}

#[test]
fn a_watch_of_the_future_waits() {
    let bench = Bench::new();
    let batch = bench.store.poll_watch(&query(""), 1_000).unwrap();
    assert!(batch.events.is_empty());
    assert_eq!(batch.cursor, 1_000);
}

#[test]
fn an_event_is_one_line_of_json() {
    let mut bench = Bench::new();
    let planned = bench.create(&config_maps(), "a", map("m")).unwrap();
    let line = WatchEvent::added(planned.object.clone()).line();
    assert_eq!(
        line.iter().position(|byte| *byte == b'\n'),
        Some(line.len() - 1)
    );
    let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        event,
        json!({"type": "ADDED", "object": planned.object.value()})
    );
}
