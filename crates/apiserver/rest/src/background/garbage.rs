//! Deletes what lost its owners.

use std::sync::Arc;

use kthena_apiserver_objects::{
    ApiError, GroupResource, Scope,
    garbage::{self, Action, Kinds},
};

use super::{Follower, News, carry_out};
use crate::{catalog::Catalog, server::Inner};

/// Follows all changes until the server closes.
pub(super) async fn run(server: Arc<Inner>) {
    let mut follower = Follower::new(Arc::clone(&server));
    let mut news = News::Lost;
    loop {
        let actions = decide(&server, &news);
        carry_out(
            "garbage",
            actions.into_iter().map(|action| act(&server, action)),
        )
        .await;
        match follower.next().await {
            Some(next) => news = next,
            None => return,
        }
    }
}

fn decide(server: &Inner, news: &News) -> Vec<Action> {
    let catalog = server.engine.catalog();
    let kinds = Served(&catalog);
    let store = server.engine.store();
    match news {
        News::Changes(changes) => {
            let mut actions: Vec<Action> = Vec::new();
            for action in changes
                .iter()
                .flat_map(|change| garbage::after(&store, change, &kinds))
            {
                if !actions.contains(&action) {
                    actions.push(action);
                }
            }
            actions
        }
        News::Lost => garbage::sweep(&store, &kinds),
    }
}

async fn act(server: &Inner, action: Action) -> Result<(), ApiError> {
    let target = action.target().clone();
    let missing = ApiError::not_found(&target.resource, &*target.key.name);
    let catalog = server.engine.catalog();
    let kind = Arc::clone(catalog.stored_as(&target.resource).ok_or(missing.clone())?);
    let now = Inner::now();
    let plan = move |store: &kthena_apiserver_objects::Store| {
        store.plan_action(&kind.rules, &action, now)?.ok_or(missing)
    };
    server.engine.write(false, plan).await?;
    Ok(())
}

/// The kinds in the catalog.
struct Served<'a>(&'a Catalog);

impl Kinds for Served<'_> {
    fn resource_of(&self, api_version: &str, kind: &str) -> Option<(GroupResource, Scope)> {
        let kind = self.0.of_kind(api_version, kind)?;
        Some((kind.group_resource().clone(), kind.rules.scope))
    }
}
