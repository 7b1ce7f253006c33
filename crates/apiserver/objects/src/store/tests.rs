use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::selector::{FieldSelector, LabelSelector};
use crate::testing::{Bench, config_maps, namespaces, pods};
use crate::watch_log::{InitialEvents, WatchEventType, WatchQuery, WatchStart};
use crate::write::{DeleteOptions, Outcome, Part};

fn map(name: &str, color: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "labels": {"color": color}}, "data": {"n": "0"}})
}

fn query() -> ListQuery {
    ListQuery {
        namespace: Some("a".to_owned()),
        ..ListQuery::default()
    }
}

fn names(page: &ListPage) -> Vec<&str> {
    page.items.iter().map(|object| object.name()).collect()
}

fn five() -> Bench {
    let mut bench = Bench::new();
    for name in ["m1", "m2", "m3", "m4", "m5"] {
        bench.create(&config_maps(), "a", map(name, "red")).unwrap();
    }
    bench
        .create(&config_maps(), "b", map("other", "red"))
        .unwrap();
    bench
}

#[test]
fn chunks_show_one_version_while_objects_come_and_go() {
    let mut bench = five();
    let resource = config_maps();
    let first = bench
        .store
        .list(
            &resource.group_resource,
            &ListQuery {
                limit: Some(2),
                ..query()
            },
        )
        .unwrap();
    assert_eq!(
        (names(&first), first.remaining),
        (vec!["m1", "m2"], Some(3))
    );

    bench
        .delete(&resource, ("a", "m4"), DeleteOptions::default())
        .unwrap();
    bench.create(&resource, "a", map("m25", "red")).unwrap();
    let next = ListQuery {
        limit: Some(9),
        continue_token: first.continue_token.clone(),
        ..query()
    };
    let second = bench.store.list(&resource.group_resource, &next).unwrap();

    assert_eq!(names(&second), ["m3", "m4", "m5"]);
    assert_eq!(
        (second.version, second.continue_token, second.remaining),
        (first.version, None, None)
    );
}

#[test]
fn remaining_count_is_unknown_under_a_selector() {
    let bench = five();
    let labels = LabelSelector::parse("color=red").unwrap();
    let page = bench
        .store
        .list(
            &config_maps().group_resource,
            &ListQuery {
                limit: Some(2),
                labels,
                ..query()
            },
        )
        .unwrap();
    assert!(page.continue_token.is_some());
    assert_eq!(page.remaining, None);
}

#[test]
fn an_expired_chunk_offers_a_token_for_the_rest() {
    let mut bench = five();
    let resource = config_maps().group_resource;
    let first = bench
        .store
        .list(
            &resource,
            &ListQuery {
                limit: Some(2),
                ..query()
            },
        )
        .unwrap();
    bench.create(&config_maps(), "a", map("m9", "red")).unwrap();
    bench.store.log.compact_through(bench.store.version());

    let next = ListQuery {
        continue_token: first.continue_token,
        ..query()
    };
    let error = bench.store.list(&resource, &next).unwrap_err();
    assert_eq!(error.code_and_reason(), (410, "Expired"));
    let token = error.status()["metadata"]["continue"]
        .as_str()
        .map(str::to_owned);
    let rest = bench
        .store
        .list(
            &resource,
            &ListQuery {
                continue_token: token,
                ..query()
            },
        )
        .unwrap();
    assert_eq!(names(&rest), ["m3", "m4", "m5", "m9"]);
}

#[rstest]
#[case::garbage("abc")]
#[case::not_json("e30gfQ")]
#[case::other_form("eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6ImEvYlx1MDAwMCJ9")]
#[case::version_zero("eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiJhL2JcdTAwMDAifQ")]
fn bad_continue_tokens_are_refused(#[case] token: &str) {
    let next = ListQuery {
        continue_token: Some(token.to_owned()),
        ..query()
    };
    let error = five()
        .store
        .list(&config_maps().group_resource, &next)
        .unwrap_err();
    assert_eq!(error.code(), 400);
    assert!(
        error.to_string().starts_with("invalid continue token: "),
        "{error}"
    );
}

fn raw(pairs: &[(&str, &str)]) -> RawListOptions {
    let mut raw = RawListOptions::default();
    for (name, value) in pairs {
        let value = Some((*value).to_owned());
        match *name {
            "limit" => raw.limit = value,
            "continue" => raw.continue_token = value,
            "version" => raw.resource_version = value,
            "match" => raw.resource_version_match = value,
            other => panic!("unknown option {other}"),
        }
    }
    raw
}

#[rstest]
#[case::unset(&[], VersionRule::Latest)]
#[case::zero(&[("version", "0")], VersionRule::Any)]
#[case::number(&[("version", "5")], VersionRule::NotOlderThan(5))]
#[case::number_and_limit(&[("version", "5"), ("limit", "2")], VersionRule::Exact(5))]
#[case::exact(&[("version", "5"), ("match", "Exact")], VersionRule::Exact(5))]
#[case::not_older(&[("version", "5"), ("match", "NotOlderThan"), ("limit", "2")], VersionRule::NotOlderThan(5))]
#[case::zero_not_older(&[("version", "0"), ("match", "NotOlderThan")], VersionRule::Any)]
fn list_options_choose_a_version(#[case] options: &[(&str, &str)], #[case] expected: VersionRule) {
    let query = raw(options).list_query(&config_maps(), None).unwrap();
    assert_eq!(query.version, expected);
}

#[rstest]
#[case::continue_with_version(&[("continue", "x"), ("version", "5")], 400)]
#[case::match_with_continue(&[("continue", "x"), ("version", "5"), ("match", "Exact")], 422)]
#[case::exact_zero(&[("version", "0"), ("match", "Exact")], 422)]
#[case::unknown_match(&[("version", "1"), ("match", "Nearly")], 422)]
#[case::limit_text(&[("limit", "many")], 400)]
fn list_options_that_make_no_sense_are_refused(
    #[case] options: &[(&str, &str)],
    #[case] code: u16,
) {
    assert_eq!(
        raw(options)
            .list_query(&config_maps(), None)
            .unwrap_err()
            .code(),
        code
    );
}

#[test]
fn a_version_of_the_future_is_a_timeout() {
    let version = VersionRule::NotOlderThan(1_000);
    let error = five()
        .store
        .list(
            &config_maps().group_resource,
            &ListQuery { version, ..query() },
        )
        .unwrap_err();
    assert_eq!(error.code(), 504);
    assert_eq!(
        error.status()["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
}

#[test]
fn a_limit_does_not_count_when_any_version_will_do() {
    let page = five()
        .store
        .list(
            &config_maps().group_resource,
            &ListQuery {
                limit: Some(1),
                version: VersionRule::Any,
                ..query()
            },
        )
        .unwrap();
    assert_eq!(page.items.len(), 5);
}

#[test]
fn restored_objects_are_found_and_old_watches_start_anew() {
    let bench = five();
    let resource = config_maps();
    let saved: Vec<_> = bench
        .store
        .objects(&resource.group_resource, None)
        .cloned()
        .collect();
    let objects = saved.iter().map(|object| {
        let object = Object::from_bytes(&resource, object.bytes().clone()).unwrap();
        (resource.group_resource.clone(), object)
    });
    let version = bench.store.version() + 7;
    let restored = Store::restore(LogLimits::default(), version, objects);

    assert_eq!(restored.version(), version);
    assert_eq!(restored.count(&resource.group_resource), 6);
    let uid = saved[0].uid();
    assert_eq!(restored.by_uid(uid).unwrap().1.name(), "m1");
    let watch = watch_query("");
    assert_eq!(
        restored.poll_watch(&watch, version - 1).unwrap_err().code(),
        410
    );
    assert!(
        restored
            .poll_watch(&watch, version)
            .unwrap()
            .events
            .is_empty()
    );
}

#[test]
fn a_plan_is_good_for_one_version_only() {
    let mut bench = five();
    let stale = bench.changes.last().unwrap().clone();
    assert_eq!(bench.store.commit(&[stale]).unwrap_err().code(), 500);
    assert!(bench.create(&config_maps(), "a", map("m6", "red")).is_ok());
}

#[test]
fn contents_of_a_namespace_are_found_over_all_resources() {
    let mut bench = five();
    bench
        .create(&pods(), "a", json!({"metadata": {"name": "p"}}))
        .unwrap();
    let found: Vec<_> = bench
        .store
        .in_namespace("a")
        .map(|(resource, _)| resource.to_string())
        .collect();
    assert_eq!(
        found,
        [
            "configmaps",
            "configmaps",
            "configmaps",
            "configmaps",
            "configmaps",
            "pods"
        ]
    );
    assert_eq!(bench.store.in_namespace("none").count(), 0);
    assert_eq!(bench.store.count(&namespaces().group_resource), 2);
}

fn watch_query(labels: &str) -> WatchQuery {
    WatchQuery {
        resource: config_maps().group_resource,
        namespace: None,
        labels: LabelSelector::parse(labels).unwrap(),
        fields: FieldSelector::default(),
    }
}

/// A random write.
#[derive(Debug, Clone)]
enum Op {
    Create(usize, usize, usize),
    Recolor(usize, usize, usize),
    Touch(usize, usize),
    Delete(usize, usize),
}

const NAMES: [&str; 4] = ["w", "x", "y", "z"];
const SPACES: [&str; 2] = ["a", "b"];
const COLORS: [&str; 3] = ["red", "green", "blue"];

fn op() -> impl Strategy<Value = Op> {
    let place = || (0..SPACES.len(), 0..NAMES.len());
    prop_oneof![
        3 => (place(), 0..COLORS.len()).prop_map(|((space, name), color)| Op::Create(space, name, color)),
        3 => (place(), 0..COLORS.len()).prop_map(|((space, name), color)| Op::Recolor(space, name, color)),
        1 => place().prop_map(|(space, name)| Op::Touch(space, name)),
        2 => place().prop_map(|(space, name)| Op::Delete(space, name)),
    ]
}

type Model = BTreeMap<(usize, usize), (usize, u64)>;

/// Carries out `op` on both and checks that they agree on how it went.
fn run(bench: &mut Bench, model: &mut Model, op: &Op) {
    let resource = config_maps();
    let outcome = match *op {
        Op::Create(space, name, color) => {
            let result = bench.create(&resource, SPACES[space], map(NAMES[name], COLORS[color]));
            let taken = model.contains_key(&(space, name));
            assert_eq!(result.is_err(), taken);
            result.map(|planned| (planned, Some((space, name, Some(color)))))
        }
        Op::Recolor(space, name, color) => bench
            .edit(
                &resource,
                (SPACES[space], NAMES[name]),
                Part::Main,
                |object| {
                    object["metadata"]["labels"]["color"] = json!(COLORS[color]);
                },
            )
            .map(|planned| (planned, Some((space, name, Some(color))))),
        Op::Touch(space, name) => bench
            .edit(&resource, (SPACES[space], NAMES[name]), Part::Main, |_| {})
            .map(|planned| (planned, None)),
        Op::Delete(space, name) => bench
            .delete(
                &resource,
                (SPACES[space], NAMES[name]),
                DeleteOptions::default(),
            )
            .map(|planned| (planned, Some((space, name, None)))),
    };
    let Ok((planned, effect)) = outcome else {
        return;
    };
    let version = bench.store.version();
    match effect {
        Some((space, name, Some(color))) => {
            let unchanged = model
                .get(&(space, name))
                .is_some_and(|(old, _)| *old == color);
            assert_eq!(planned.outcome == Outcome::Unchanged, unchanged);
            if !unchanged {
                model.insert((space, name), (color, version));
            }
        }
        Some((space, name, None)) => {
            assert!(model.remove(&(space, name)).is_some());
        }
        None => assert_eq!(planned.outcome, Outcome::Unchanged),
    }
}

fn shown(model: &Model, color: Option<usize>) -> Vec<(String, u64)> {
    model
        .iter()
        .filter(|(_, (have, _))| color.is_none_or(|color| color == *have))
        .map(|((space, name), (_, version))| {
            (format!("{}/{}", SPACES[*space], NAMES[*name]), *version)
        })
        .collect()
}

fn listed(objects: &[Arc<Object>]) -> Vec<(String, u64)> {
    objects
        .iter()
        .map(|object| {
            (
                format!("{}/{}", object.namespace(), object.name()),
                object.version(),
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Present and past lists, with and without selectors and chunks, are those of a plain map.
    #[test]
    fn agrees_with_a_naive_model(ops in proptest::collection::vec(op(), 1..40), limit in 1usize..4) {
        let mut bench = Bench::new();
        let mut model = Model::new();
        let mut history = BTreeMap::from([(bench.store.version(), model.clone())]);
        for op in &ops {
            run(&mut bench, &mut model, op);
            history.insert(bench.store.version(), model.clone());
        }
        let resource = config_maps().group_resource;
        for (version, model) in &history {
            let exact = ListQuery { version: VersionRule::Exact(*version), ..ListQuery::default() };
            let page = bench.store.list(&resource, &exact).unwrap();
            prop_assert_eq!(listed(&page.items), shown(model, None));

            let labels = LabelSelector::parse("color=green").unwrap();
            let mut items = Vec::new();
            let mut chunk = ListQuery { labels, limit: Some(limit), ..exact };
            loop {
                let page = bench.store.list(&resource, &chunk).unwrap();
                items.extend(page.items);
                chunk.continue_token = page.continue_token;
                if chunk.continue_token.is_none() { break }
            }
            prop_assert_eq!(listed(&items), shown(model, Some(1)));
        }
        for object in bench.store.objects(&resource, None) {
            prop_assert_eq!(bench.store.by_uid(object.uid()).unwrap().1.version(), object.version());
        }
    }

    /// A watch from any version, polled at any pace, leads to the state that a list shows.
    #[test]
    fn watches_replay_to_the_listed_state(
        ops in proptest::collection::vec(op(), 1..40),
        start in 0usize..40,
        pace in 1usize..5,
        selective in any::<bool>(),
    ) {
        let labels = if selective { "color in (red,blue)" } else { "" };
        let query = watch_query(labels);
        let mut bench = Bench::new();
        let mut model = Model::new();
        let mut seen = BTreeMap::new();
        let mut cursor = None;
        for (at, op) in ops.iter().enumerate() {
            if at == start.min(ops.len() - 1) {
                let from = WatchStart { after: None, initial: InitialEvents::Send };
                let batch = bench.store.start_watch(&query, from).unwrap();
                follow(&mut seen, &batch.events)?;
                cursor = Some(batch.cursor);
            }
            run(&mut bench, &mut model, op);
            if let Some(at_version) = cursor && at % pace == 0 {
                let batch = bench.store.poll_watch(&query, at_version).unwrap();
                follow(&mut seen, &batch.events)?;
                cursor = Some(batch.cursor);
            }
        }
        let batch = bench.store.poll_watch(&query, cursor.unwrap()).unwrap();
        follow(&mut seen, &batch.events)?;
        prop_assert_eq!(batch.cursor, bench.store.version());
        let list = ListQuery { labels: LabelSelector::parse(labels).unwrap(), ..ListQuery::default() };
        let page = bench.store.list(&config_maps().group_resource, &list).unwrap();
        prop_assert_eq!(seen.into_iter().collect::<Vec<_>>(), listed(&page.items));
    }
}

/// Applies events as a client's cache does, and checks that they make sense to it.
fn follow(
    seen: &mut BTreeMap<String, u64>,
    events: &[crate::watch_log::WatchEvent],
) -> Result<(), TestCaseError> {
    for event in events {
        let key = format!("{}/{}", event.object.namespace(), event.object.name());
        let version = event.object.version();
        let body = event.object.value();
        prop_assert_eq!(
            &body["metadata"]["resourceVersion"],
            &json!(version.to_string())
        );
        match event.kind {
            WatchEventType::Added => prop_assert_eq!(seen.insert(key, version), None),
            WatchEventType::Modified => {
                prop_assert!(seen.insert(key, version).is_some_and(|old| old < version));
            }
            WatchEventType::Deleted => {
                prop_assert!(seen.remove(&key).is_some_and(|old| old < version));
            }
        }
    }
    Ok(())
}
