//! Everything a request may look at, at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use kthena_router_routing::{RouteTable, Target};

use crate::servers::ServerView;

/// Routes and model servers at one moment. Never changes.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Which target serves which request.
    pub routes: Arc<RouteTable>,
    pub(crate) servers: HashMap<Arc<str>, Arc<ServerView>>,
}

impl Snapshot {
    /// The model server of this `namespace/name`.
    pub fn server(&self, key: &str) -> Option<&Arc<ServerView>> {
        self.servers.get(key)
    }

    /// The model servers that routes of this name lead to, with the name that their engines know what is asked for by.
    /// A server may come several times.
    pub fn servers_of<'s>(
        &'s self,
        model: &'s str,
    ) -> impl Iterator<Item = (&'s Arc<ServerView>, &'s str)> {
        let (adapter, targets) = self.routes.targets(model);
        targets.filter_map(move |target| {
            let Target::Server(key) = target else {
                return None;
            };
            let server = self.servers.get(key)?;
            let own_name = server.model.as_deref().filter(|_| !adapter);
            Some((server, own_name.unwrap_or(model)))
        })
    }

    /// All model servers, in no order.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<ServerView>> {
        self.servers.values()
    }
}
