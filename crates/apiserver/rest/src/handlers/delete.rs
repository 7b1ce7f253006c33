//! Deletions of one object and of collections.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use jiff::Timestamp;
use kthena_apiserver_objects::{
    ApiError, Delete, DeleteOptions, Planned,
    store::ListPage,
    write::{Outcome, Propagation},
};
use serde_json::{Value, json};

use super::{Call, present::Presenter};
use crate::{
    answer,
    answer::Answer,
    catalog::ResourceType,
    query::{self, OptionsKind, ReadOptions},
    server::Inner,
};

/// Deletions of a collection that are under way at once, so that they share a sync.
const CONCURRENCY: usize = 64;

/// `DELETE` of an object.
pub(crate) async fn object(call: Call) -> Answer {
    let options = read_options(&call)?;
    let place = (call.namespace().to_owned(), call.name().to_owned());
    let planned = delete(&call.server, &call.kind, place, options).await?;
    if planned.outcome == Outcome::Deleted && !call.kind.rules.returns_deleted {
        return answer::value(
            StatusCode::OK,
            call.accepted.encoding,
            &gone(&call, &planned),
        );
    }
    Presenter::new(&call)?.answer(StatusCode::OK, &planned.object, Inner::now())
}

fn gone(call: &Call, planned: &Planned) -> Value {
    let mut details = json!({
        "name": planned.object.name(),
        "kind": call.kind.plural,
        "uid": planned.object.uid(),
    });
    if !call.kind.group.is_empty() {
        details["group"] = call.kind.group.as_str().into();
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

/// `DELETE` of a collection. An object that goes on its own meanwhile is no error.
pub(crate) async fn collection(call: Call) -> Answer {
    let options = read_options(&call)?;
    let read = ReadOptions::read(&call.query)?;
    let query = read
        .raw
        .list_query(&call.kind.rules, call.path.namespace.as_deref())?;
    let page = call
        .server
        .engine
        .store()
        .list(call.kind.group_resource(), &query)?;
    let items: Vec<_> = stream::iter(page.items)
        .map(|object| {
            let place = (object.namespace().to_owned(), object.name().to_owned());
            let (server, kind) = (Arc::clone(&call.server), Arc::clone(&call.kind));
            let options = options.clone();
            async move {
                match delete(&server, &kind, place, options).await {
                    Ok(planned) => Ok(Some(planned.object)),
                    Err(ApiError::NotFound { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        })
        .buffered(CONCURRENCY)
        .try_filter_map(|object| async move { Ok::<_, ApiError>(object) })
        .try_collect()
        .await?;
    let version = call.server.engine.store().version();
    let page = ListPage {
        items,
        version,
        ..ListPage::default()
    };
    Presenter::new(&call)?.list(&page, Inner::now())
}

/// Options of the body, over those of the query.
fn read_options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let mut options = DeleteOptions::default();
    if !call.body.is_empty() {
        let decoded = super::read::body(call)?;
        options = DeleteOptions::from_value(&decoded.value)?;
    }
    if options.grace_period_seconds.is_none() {
        options.grace_period_seconds = call.query.number("gracePeriodSeconds")?;
    }
    if options.propagation.is_none() {
        options.propagation = match call.query.text("propagationPolicy") {
            Some(policy) => Some(Propagation::parse(policy)?),
            None => call.query.optional_flag("orphanDependents")?.map(|orphan| {
                if orphan {
                    Propagation::Orphan
                } else {
                    Propagation::Background
                }
            }),
        };
    }
    options.dry_run |= query::dry_run(&call.query, OptionsKind::Delete)?;
    Ok(options)
}

/// Deletes the object at `place`, or marks it.
pub(crate) async fn delete(
    server: &Inner,
    kind: &Arc<ResourceType>,
    place: (String, String),
    options: DeleteOptions,
) -> Result<Planned, ApiError> {
    let (namespace, name) = place;
    let dry_run = options.dry_run;
    let (kind, now): (_, Timestamp) = (Arc::clone(kind), Inner::now());
    server
        .engine
        .write(dry_run, move |store| {
            let delete = Delete {
                namespace: &namespace,
                name: &name,
                options,
                now,
            };
            store.plan_delete(&kind.rules, &delete)
        })
        .await
}
