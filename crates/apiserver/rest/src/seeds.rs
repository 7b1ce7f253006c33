//! The objects that exist from the start: namespaces, our six kinds and two that controllers look for.

use std::sync::Arc;

use futures::future::try_join_all;
use kthena_apiserver_objects::{
    ApiError, GroupResource, Store,
    write::{Author, Part},
};
use serde_json::{Value, json};

use crate::{
    catalog::ResourceType,
    error::ServerError,
    handlers::planning::{Target, plan_create, plan_update},
    query::FieldValidation,
    review::{self, Scope},
    server::Inner,
};

/// Namespaces of every cluster.
const NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Definitions of foreign kinds, as far as our controllers use them.
const FOREIGN: [&str; 2] = [
    include_str!("../data/podgroups.scheduling.volcano.sh.json"),
    include_str!("../data/leaderworkersets.leaderworkerset.x-k8s.io.json"),
];

/// Makes what is missing and brings definitions of an older program up to date.
pub(crate) async fn plant(server: &Inner) -> Result<(), ServerError> {
    let namespaces = NAMESPACES.map(
        |name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
    );
    let foreign = FOREIGN
        .iter()
        .filter_map(|text| serde_json::from_str(text).ok());
    let definitions = kthena_api::crd::all().into_iter().chain(foreign);
    // Side by side, so that all of them share one or two syncs.
    let namespaces = namespaces
        .into_iter()
        .map(|object| settle(server, "v1", "Namespace", object));
    let definitions = definitions.map(|object| {
        settle(
            server,
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            object,
        )
    });
    tokio::try_join!(try_join_all(namespaces), try_join_all(definitions))?;
    Ok(())
}

async fn settle(
    server: &Inner,
    api_version: &str,
    kind: &str,
    object: Value,
) -> Result<(), ServerError> {
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let what = format!("{kind} {name}");
    let catalog = server.engine.catalog();
    let failed = |cause| ServerError::SetUp {
        what: what.clone(),
        cause: Box::new(cause),
    };
    let unknown = || ApiError::internal(format!("{api_version} {kind} is not served"));
    let kind = Arc::clone(
        catalog
            .of_kind(api_version, kind)
            .ok_or_else(unknown)
            .map_err(failed)?,
    );
    let (now, uid) = (Inner::now(), uuid::Uuid::new_v4().to_string());
    let plan = move |store: &Store| {
        let author = Author {
            uid: &uid,
            ..Author::server(now)
        };
        plan_seed(store, &kind, &name, object, author)
    };
    server.engine.write(false, plan).await.map_err(failed)?;
    Ok(())
}

fn plan_seed(
    store: &Store,
    kind: &ResourceType,
    name: &str,
    mut object: Value,
    author: Author<'_>,
) -> Result<kthena_apiserver_objects::Planned, ApiError> {
    review::intake(kind, &mut object, &[], FieldValidation::Ignore)?;
    let resource: &GroupResource = kind.group_resource();
    let Some(stored) = store.get(resource, "", name) else {
        return plan_create(store, kind, "", object, author, Scope::Object);
    };
    let mut current = stored.value();
    // Everything else in a seed belongs to whoever changed it.
    if kind.kind == "CustomResourceDefinition" {
        current["spec"] = object["spec"].take();
    }
    let target = Target {
        kind,
        namespace: "",
        name,
        part: Part::Main,
    };
    plan_update(store, target, current, author)
}
