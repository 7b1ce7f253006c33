//! Label sets that logs and metrics share.

use std::sync::Arc;

/// What kind of thing answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackendKind {
    /// Pods of a `ModelServer`.
    ModelServer,
}

impl BackendKind {
    /// The name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::ModelServer => "model_server",
        }
    }
}

/// Where a request was bound to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// `namespace/name` of the route.
    pub route: Arc<str>,
    /// What kind of thing answers.
    pub kind: BackendKind,
    /// `namespace/name` of what answers.
    pub backend: Arc<str>,
    /// The model name that is sent on.
    pub upstream_model: Arc<str>,
}
