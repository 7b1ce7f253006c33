//! The rules of the admission webhooks: what is refused beyond the schema, and with which words.
//!
//! [`Rules::validate`] judges a write, [`Rules::mutate`] gives the changes of the mutating webhooks, [`Rules::message`] frames faults for
//! the answer. The webhook server, the local API server and `kthena local up` all call these.
//!
//! # Invariants
//!
//! - All faults of an object are reported together, in rule order; where a rule goes through a map, sorted by key.
//! - A malformed value that the schema lets through is a fault with its path, never a decode error.
//! - An object that is being deleted is never refused, and an update only for faults that the old object did not have,
//!   so that finalizers can be removed and labels edited whatever rules were added since.
//!
//! # Where to go next
//!
//! A module per kind. `at` walks an object with its path, `malformed` covers what a typed reader would trip over.

mod at;
mod autoscaling_policy;
mod external_model_provider;
mod go_url;
mod int_or_percent;
mod kv_connector;
mod malformed;
mod model_booster;
mod model_route;
mod model_server;
mod model_serving;
mod model_serving_rollout;
mod names;
mod ratio;

#[cfg(test)]
mod tests;

pub use kthena_schema::Fault;
use kthena_schema::FieldPath;
use serde_json::Value;

use at::At;

/// The rules of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rules {
    /// Rules MR-V.
    ModelRoute,
    /// Rules SV-V.
    ModelServer,
    /// Rules EP-V.
    ExternalModelProvider,
    /// Rules SG-V.
    ModelServing,
    /// Rules MB-V.
    ModelBooster,
    /// Rules AP-V.
    AutoscalingPolicy,
}

impl Rules {
    /// All six.
    pub const ALL: [Self; 6] = [
        Self::ModelRoute,
        Self::ModelServer,
        Self::ExternalModelProvider,
        Self::ModelServing,
        Self::ModelBooster,
        Self::AutoscalingPolicy,
    ];

    /// The rules of a kind of ours; `None` for any other.
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|rules| rules.kind() == kind && rules.group() == group)
    }

    /// The kind they are for.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::ModelRoute => "ModelRoute",
            Self::ModelServer => "ModelServer",
            Self::ExternalModelProvider => "ExternalModelProvider",
            Self::ModelServing => "ModelServing",
            Self::ModelBooster => "ModelBooster",
            Self::AutoscalingPolicy => "AutoscalingPolicy",
        }
    }

    /// The API group of that kind.
    pub const fn group(self) -> &'static str {
        match self {
            Self::ModelRoute | Self::ModelServer | Self::ExternalModelProvider => {
                crate::NETWORKING_GROUP
            }
            Self::ModelServing | Self::ModelBooster | Self::AutoscalingPolicy => {
                crate::WORKLOAD_GROUP
            }
        }
    }

    /// Name of the validating webhook, which the API server puts before the message of a refusal.
    pub const fn webhook(self) -> &'static str {
        match self {
            Self::ModelRoute => "validate-modelroute.volcano.sh",
            Self::ModelServer => "validate-modelserver.volcano.sh",
            Self::ExternalModelProvider => "validate-externalmodelprovider.volcano.sh",
            Self::ModelServing => "validate-workload-ai-v1alpha1-modelserving.volcano.sh",
            Self::ModelBooster => "validate-modelbooster.volcano.sh",
            Self::AutoscalingPolicy => "validate-autoscalingpolicy.volcano.sh",
        }
    }

    /// Everything held against an object, whatever was stored before.
    pub fn faults(self, object: &Value) -> Vec<Fault> {
        let root = At::root(object);
        let mut faults = malformed::find(self, &root);
        match self {
            Self::ModelRoute => model_route::check(&root, &mut faults),
            Self::ModelServer => model_server::check(&root, &mut faults),
            Self::ExternalModelProvider => external_model_provider::check(&root, &mut faults),
            Self::ModelServing => model_serving::check(&root, &mut faults),
            Self::ModelBooster => model_booster::check(&root, &mut faults),
            Self::AutoscalingPolicy => autoscaling_policy::check(&root, &mut faults),
        }
        faults
    }

    /// What a create, or with `old` an update, is refused for; empty = it is allowed.
    ///
    /// Nothing is held against an object that is being deleted or whose spec did not change, and not what the old
    /// object was guilty of already.
    pub fn validate(self, new: &Value, old: Option<&Value>) -> Vec<Fault> {
        if new
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|time| !time.is_null())
        {
            return Vec::new();
        }
        let Some(old) = old else {
            return self.faults(new);
        };
        if new.get("spec") == old.get("spec") {
            return Vec::new();
        }
        let known = self.faults(old);
        let mut faults = self.faults(new);
        faults.retain(|fault| !known.contains(fault));
        faults
    }

    /// The JSON patch of the mutating webhook; empty = nothing to change.
    pub fn mutate(self, object: &Value) -> Vec<Value> {
        match self {
            Self::AutoscalingPolicy => crate::defaults::autoscaling_patch(object),
            _ => Vec::new(),
        }
    }

    /// The message of a refusal: one line per fault, all on one line for a `ModelServer`.
    pub fn message(self, faults: &[Fault]) -> String {
        let (head, separator) = match self {
            Self::ModelServer => ("validation failed: ", ""),
            _ => ("validation failed:\n", "\n"),
        };
        let items: Vec<String> = faults.iter().map(|fault| format!("  - {fault}")).collect();
        format!("{head}{}", items.join(separator))
    }

    /// What the API server tells the user about a refusal.
    pub fn denial(self, faults: &[Fault]) -> String {
        format!(
            "admission webhook \"{}\" denied the request: {}",
            self.webhook(),
            self.message(faults)
        )
    }
}

/// A fault at a path that is written already.
fn invalid(path: FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Fault {
    Fault::invalid(path, value, detail)
}
