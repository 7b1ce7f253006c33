//! What a Rust client relies on and a list of requests cannot say: races, long lists, followed watches.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kthena_conformance::case::Only;
use kthena_testkit::objects;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use rstest::rstest;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{embedded, real, runtime};

const DEADLINE: Duration = Duration::from_secs(30);

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A client of `kind` and the config maps of a new namespace.
async fn config_maps(kind: Only, namespace: &str) -> (Client, Api<ConfigMap>) {
    let server = match kind {
        Only::Embedded => embedded::server().await,
        Only::Real => real::server().await,
    };
    let client = server.client.clone();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(
            &PostParams::default(),
            &typed(objects::namespace(namespace)),
        )
        .await
        .unwrap();
    (client.clone(), Api::namespaced(client, namespace))
}

/// Adds one to the counter until no other writer comes between.
async fn increment(api: Api<ConfigMap>) {
    loop {
        let mut counter = api.get("counter").await.unwrap();
        let data = counter.data.as_mut().unwrap();
        let next = data["count"].parse::<u32>().unwrap() + 1;
        data.insert("count".to_owned(), next.to_string());
        match api
            .replace("counter", &PostParams::default(), &counter)
            .await
        {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn no_update_is_lost_among_many_writers(#[case] kind: Only) {
    runtime().block_on(async {
        let (_, api) = config_maps(kind, "client-race").await;
        let counter = typed(objects::config_map("counter", "count", "0"));
        api.create(&PostParams::default(), &counter).await.unwrap();

        join_all((0..24).map(|_| increment(api.clone()))).await;

        assert_eq!(
            api.get("counter").await.unwrap().data.unwrap()["count"],
            "24"
        );
    });
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn a_list_in_pieces_is_one_moment(#[case] kind: Only) {
    runtime().block_on(async {
        let (_, api) = config_maps(kind, "client-pieces").await;
        let names: Vec<String> = (0..25).map(|number| format!("c{number:02}")).collect();
        for name in &names {
            api.create(
                &PostParams::default(),
                &typed(objects::config_map(name, "k", "v")),
            )
            .await
            .unwrap();
        }

        let mut seen = Vec::new();
        let mut page = ListParams::default().limit(7);
        loop {
            let list = api.list(&page).await.unwrap();
            seen.extend(list.items.iter().map(ResourceExt::name_any));
            // What happens between two pieces belongs to a later moment.
            let name = format!("a{}", seen.len());
            api.create(
                &PostParams::default(),
                &typed(objects::config_map(&name, "k", "v")),
            )
            .await
            .unwrap();
            api.delete(
                &names[24 - seen.len() % 3],
                &kube::api::DeleteParams::default(),
            )
            .await
            .ok();
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }

        assert_eq!(seen, names);
    });
}

#[rstest]
#[case::real_server(Only::Real, watcher::InitialListStrategy::ListWatch)]
#[case::real_server_streamed(Only::Real, watcher::InitialListStrategy::StreamingList)]
#[case::embedded_server(Only::Embedded, watcher::InitialListStrategy::ListWatch)]
#[case::embedded_server_streamed(Only::Embedded, watcher::InitialListStrategy::StreamingList)]
fn a_watcher_sees_what_is_and_what_comes(
    #[case] kind: Only,
    #[case] strategy: watcher::InitialListStrategy,
) {
    runtime().block_on(async {
        let streamed = matches!(strategy, watcher::InitialListStrategy::StreamingList);
        let (_, api) = config_maps(kind, &format!("client-watcher-{streamed}")).await;
        api.create(
            &PostParams::default(),
            &typed(objects::config_map("first", "k", "v")),
        )
        .await
        .unwrap();
        let config = watcher::Config {
            initial_list_strategy: strategy,
            ..watcher::Config::default()
        };
        let mut events = watcher(api.clone(), config).boxed();
        let mut next = async || {
            timeout(DEADLINE, events.try_next())
                .await
                .unwrap()
                .unwrap()
                .unwrap()
        };

        let mut known = BTreeSet::new();
        loop {
            match next().await {
                Event::Init => {}
                Event::InitApply(object) => drop(known.insert(object.name_any())),
                Event::InitDone => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(known, BTreeSet::from(["first".to_owned()]));

        let patch = Patch::Merge(json!({"data": {"k": "w"}}));
        api.patch("first", &PatchParams::default(), &patch)
            .await
            .unwrap();
        let Event::Apply(changed) = next().await else {
            panic!("expected the change")
        };
        assert_eq!(changed.data.unwrap()["k"], "w");
        api.delete("first", &kube::api::DeleteParams::default())
            .await
            .unwrap();
        let Event::Delete(gone) = next().await else {
            panic!("expected the deletion")
        };
        assert_eq!(gone.name_any(), "first");
    });
}
