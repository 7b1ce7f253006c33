//! The six custom resources of Kthena: types, names, defaults, CRDs and admission rules.
//!
//! One module per resource. Everything here is a pure function of the object it is given, so that the
//! webhooks, the local API server, the controllers and `kthena local up` decide alike.
//!
//! # Invariants
//!
//! - An unset optional field is never written (which default wins depends on it).
//! - Pod templates are carried as opaque JSON, so that no field of a user is lost on the way to a pod.
//! - Reading tolerates what typed Go clients write: zero values, `null`, empty objects.

pub mod admission;
pub mod autoscaling_policy;
mod check;
pub mod conditions;
pub mod crd;
pub mod defaults;
pub mod duration;
pub mod event;
pub mod external_model_provider;
pub mod int_or_percent;
pub mod labels;
pub mod model_booster;
pub mod model_route;
pub mod model_server;
pub mod model_serving;
pub mod quantity;
pub mod regex;
mod resource;

pub use check::{Settled, check, settle};

/// Group of `ModelRoute`, `ModelServer` and `ExternalModelProvider`.
pub const NETWORKING_GROUP: &str = "networking.serving.volcano.sh";
/// Group of `ModelServing`, `ModelBooster` and `AutoscalingPolicy`.
pub const WORKLOAD_GROUP: &str = "workload.serving.volcano.sh";
/// The one served and stored version of all six kinds.
pub const VERSION: &str = "v1alpha1";
