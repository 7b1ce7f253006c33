//! Plans writes on the object store with the rules of their kind.

use kthena_apiserver_objects::{
    ApiError, Create, Planned, Store, Update,
    write::{Author, Part, Review},
};
use serde_json::Value;

use crate::{
    catalog::ResourceType,
    review::{self, Scope},
};

/// The object that a planned change is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) kind: &'a ResourceType,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) part: Part<'a>,
}

/// Plans a create with the rules of its kind.
pub(crate) fn plan_create(
    store: &Store,
    kind: &ResourceType,
    namespace: &str,
    object: Value,
    author: Author<'_>,
    scope: Scope,
) -> Result<Planned, ApiError> {
    let mut admit = |review: Review<'_>| review::review(kind, scope, author.now, review);
    let create = Create {
        namespace,
        object,
        author,
        admit: &mut admit,
    };
    store.plan_create(&kind.rules, create)
}

/// Plans an update with the rules of its kind.
pub(crate) fn plan_update(
    store: &Store,
    target: Target<'_>,
    object: Value,
    author: Author<'_>,
) -> Result<Planned, ApiError> {
    let Target {
        kind,
        namespace,
        name,
        part,
    } = target;
    let scope = if part == Part::Main {
        Scope::Object
    } else {
        Scope::Subresource
    };
    let mut admit = |review: Review<'_>| review::review(kind, scope, author.now, review);
    let update = Update {
        namespace,
        name,
        part,
        object,
        author,
        admit: &mut admit,
    };
    store.plan_update(&kind.rules, update)
}
