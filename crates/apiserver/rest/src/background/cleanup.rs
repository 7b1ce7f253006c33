//! Empties namespaces and definitions that are being deleted, then lets them go.

use std::{collections::BTreeSet, sync::Arc};

use kthena_apiserver_objects::{
    ApiError, Change, DeleteOptions, GroupResource, Object, Store, Update, meta,
    write::{Author, Part, admit_all},
};
use serde_json::{Value, json};

use super::{Follower, News, carry_out};
use crate::{
    catalog::custom,
    core_types::settle::{self, DEFINITION_CLEANUP},
    handlers::delete,
    server::Inner,
};

/// Holds a namespace while it has contents.
const NAMESPACE_FINALIZER: &str = "kubernetes";

/// Something that goes once it is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Container {
    Namespace(String),
    Definition(String),
}

/// Follows all changes until the server closes.
pub(super) async fn run(server: Arc<Inner>) {
    let mut follower = Follower::new(Arc::clone(&server));
    let mut news = News::Lost;
    loop {
        let containers = leaving(&server.engine.store(), &news);
        for container in containers {
            empty(&server, container).await;
        }
        match follower.next().await {
            Some(next) => news = next,
            None => return,
        }
    }
}

fn namespaces() -> GroupResource {
    GroupResource::new("", "namespaces")
}

/// The containers that are being deleted and that the news concern.
fn leaving(store: &Store, news: &News) -> BTreeSet<Container> {
    let of = |resource: GroupResource| {
        store
            .objects(&resource, None)
            .filter(|object| object.is_deleting())
            .cloned()
            .collect::<Vec<_>>()
    };
    let (namespaces, definitions) = (of(namespaces()), of(custom::definitions()));
    let name = |object: &Arc<Object>| object.name().to_owned();
    let mut leaving: BTreeSet<Container> = namespaces
        .iter()
        .map(name)
        .map(Container::Namespace)
        .collect();
    leaving.extend(definitions.iter().map(name).map(Container::Definition));
    if let News::Changes(changes) = news {
        leaving.retain(|container| changes.iter().any(|change| concerns(change, container)));
    }
    leaving
}

fn concerns(change: &Change, container: &Container) -> bool {
    match container {
        Container::Namespace(name) => {
            change.object.namespace() == name
                || (change.resource == namespaces() && change.object.name() == name)
        }
        Container::Definition(name) => {
            change.resource.to_string() == *name
                || (change.resource == custom::definitions() && change.object.name() == name)
        }
    }
}

async fn empty(server: &Inner, container: Container) {
    let contents = contents(&server.engine.store(), &container);
    if contents.is_empty() {
        carry_out("cleanup", [release(server, container)]).await;
        return;
    }
    let waiting = contents.iter().filter(|(_, object)| !object.is_deleting());
    let removals: Vec<_> = waiting
        .map(|(resource, object)| remove(server, resource, object))
        .collect();
    carry_out("cleanup", removals).await;
}

fn contents(store: &Store, container: &Container) -> Vec<(GroupResource, Arc<Object>)> {
    match container {
        Container::Namespace(name) => store
            .in_namespace(name)
            .map(|(resource, object)| (resource.clone(), Arc::clone(object)))
            .collect(),
        Container::Definition(name) => {
            let Some((plural, group)) = name.split_once('.') else {
                return Vec::new();
            };
            let resource = GroupResource::new(group, plural);
            store
                .objects(&resource, None)
                .map(|object| (resource.clone(), Arc::clone(object)))
                .collect()
        }
    }
}

async fn remove(server: &Inner, resource: &GroupResource, object: &Object) -> Result<(), ApiError> {
    let catalog = server.engine.catalog();
    let kind = catalog
        .stored_as(resource)
        .ok_or_else(|| ApiError::not_found(resource, object.name()))?;
    let place = (object.namespace().to_owned(), object.name().to_owned());
    let options = DeleteOptions {
        uid: Some(object.uid().to_owned()),
        ..DeleteOptions::default()
    };
    delete::delete(server, kind, place, options).await?;
    Ok(())
}

/// Takes the server's own finalizer off an empty container.
async fn release(server: &Inner, container: Container) -> Result<(), ApiError> {
    let catalog = server.engine.catalog();
    let (resource, name) = match &container {
        Container::Namespace(name) => (namespaces(), name.clone()),
        Container::Definition(name) => (custom::definitions(), name.clone()),
    };
    let missing = || ApiError::not_found(&resource, name.as_str());
    let kind = Arc::clone(catalog.stored_as(&resource).ok_or_else(missing)?);
    let now = Inner::now();
    let plan = move |store: &Store| {
        // Something may have come in since the look at the contents.
        if !contents(store, &container).is_empty() {
            return Err(ApiError::not_found(kind.group_resource(), name.as_str()));
        }
        let mut object = store.fetch(kind.group_resource(), "", &name)?.value();
        match container {
            Container::Namespace(_) => drop_namespace_finalizer(&mut object),
            Container::Definition(_) => {
                drop_definition_finalizer(&mut object, &meta::time_text(now));
            }
        }
        let update = Update {
            namespace: "",
            name: &name,
            part: Part::Whole("finalize"),
            object,
            author: Author::server(now),
            admit: &mut admit_all,
        };
        store.plan_update(&kind.rules, update)
    };
    server.engine.write(false, plan).await?;
    Ok(())
}

fn drop_namespace_finalizer(namespace: &mut Value) {
    if let Some(finalizers) = namespace
        .pointer_mut("/spec/finalizers")
        .and_then(Value::as_array_mut)
    {
        finalizers.retain(|held| held != NAMESPACE_FINALIZER);
    }
}

fn drop_definition_finalizer(definition: &mut Value, now: &str) {
    let kept: Vec<String> = meta::finalizers(definition)
        .into_iter()
        .filter(|held| *held != DEFINITION_CLEANUP)
        .map(ToOwned::to_owned)
        .collect();
    meta::set_finalizers(definition, &kept);
    if let Some(status) = definition
        .as_object_mut()
        .map(|map| map.entry("status").or_insert_with(|| json!({})))
        && let Some(status) = status.as_object_mut()
    {
        settle::terminating(status, now);
    }
}
