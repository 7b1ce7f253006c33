//! Everything a request may look at, at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use kthena_router_routing::RouteTable;

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

    /// All model servers, in no order.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<ServerView>> {
        self.servers.values()
    }
}
