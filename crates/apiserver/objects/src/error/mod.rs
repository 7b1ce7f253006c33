//! What a client is told when a request fails: each cause as data, its wording and code in one table.
//!
//! [`ApiError::status`] renders the `Status` object. The wording follows the API server closely, since
//! `kubectl` and client libraries match on reasons, causes and sometimes on the text.

mod status;
#[cfg(test)]
mod tests;

pub use kthena_schema::{Fault, FaultKind, FieldPath};

use crate::resource::GroupResource;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// No such object (or no such namespace, when the namespace is the missing object).
    #[error("{resource} {name:?} not found")]
    NotFound {
        /// The resource looked in.
        resource: GroupResource,
        /// The name looked for.
        name: String,
    },
    /// No handler serves the path.
    #[error("the server could not find the requested resource")]
    UnknownPath,
    /// A new object already names a version.
    #[error("resourceVersion should not be set on objects to be created")]
    VersionOnCreate,
    /// An object of that name is there.
    #[error("{resource} {name:?} already exists{}", if *.generated { GENERATED_TAKEN } else { "" })]
    AlreadyExists {
        /// The resource written to.
        resource: GroupResource,
        /// The name that is taken.
        name: String,
        /// Whether the name was drawn from `generateName`.
        generated: bool,
    },
    /// The write was made against another version of the object, or a precondition does not hold.
    #[error("Operation cannot be fulfilled on {resource} {name:?}: {message}")]
    Conflict {
        /// The resource written to.
        resource: GroupResource,
        /// The object's name.
        name: String,
        /// What does not fit.
        message: String,
    },
    /// Server-side apply met fields that other managers own.
    #[error("{}", status::apply_conflict_message(.causes))]
    ApplyConflict {
        /// One entry for each contested field, sorted by manager.
        causes: Vec<FieldConflict>,
    },
    /// The object breaks rules that are stated per field.
    #[error("{}", status::invalid_message(.group, .kind, .name, .faults))]
    Invalid {
        /// API group of the kind.
        group: String,
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// Everything that is wrong.
        faults: Vec<Fault>,
    },
    /// A well-formed patch that cannot be carried out on the object.
    #[error("{message}")]
    Unprocessable {
        /// What failed.
        message: String,
    },
    /// A strategic merge patch names a list item without its key.
    #[error("map: {item} does not contain declared merge key: {key}")]
    MergeKeyMissing {
        /// The item as Go prints it.
        item: String,
        /// The key.
        key: String,
    },
    /// An applied configuration does not fit its type.
    #[error("failed to create typed patch object ({object}): {}", status::typed_faults(.faults))]
    Untyped {
        /// The object with its type, as the API server describes it.
        object: String,
        /// Path and reason of each misfit.
        faults: Vec<String>,
    },
    /// A list or watch position that is no longer held.
    #[error("{message}")]
    Expired {
        /// What the client held and why it is of no more use.
        message: String,
        /// A token to go on with inconsistently, for an expired `continue`.
        continue_token: Option<String>,
    },
    /// A version that has not been reached yet.
    #[error("Timeout: Too large resource version: {asked}, current: {current}")]
    VersionTooLarge {
        /// The version the client asked for.
        asked: u64,
        /// The newest version.
        current: u64,
    },
    /// The request cannot be understood.
    #[error("{message}")]
    BadRequest {
        /// What is wrong with it.
        message: String,
    },
    /// An admission rule refuses the write.
    #[error("{resource} {name:?} is forbidden: {message}")]
    Forbidden {
        /// The resource written to.
        resource: GroupResource,
        /// The object's name.
        name: String,
        /// The rule.
        message: String,
        /// Machine-readable causes: reason, message, field.
        causes: Vec<(String, String, String)>,
    },
    /// An admission webhook, or the rules that stand for it, refuses the write.
    #[error("{message}")]
    Denied {
        /// What is wrong, with the name of the webhook before it.
        message: String,
    },
    /// The credentials are missing or wrong.
    #[error("Unauthorized")]
    Unauthorized,
    /// The resource does not know the verb.
    #[error("{action} is not supported on resources of kind {:?}", .resource.to_string())]
    MethodNotSupported {
        /// The resource addressed.
        resource: GroupResource,
        /// The verb, for example `create`.
        action: String,
    },
    /// No offered representation is acceptable to the client.
    #[error("only the following media types are accepted: {}", .accepted.join(", "))]
    NotAcceptable {
        /// What the server could have answered with.
        accepted: Vec<String>,
    },
    /// The body's media type is not one the server reads.
    #[error("the body of the request was in an unknown format - accepted media types include: {}", .accepted.join(", "))]
    UnsupportedMediaType {
        /// What the server reads.
        accepted: Vec<String>,
    },
    /// The body is larger than the server takes.
    #[error("Request entity too large: limit is {limit}")]
    TooLarge {
        /// Largest body in bytes.
        limit: usize,
    },
    /// The client should come back later.
    #[error("{message}")]
    TooManyRequests {
        /// Why.
        message: String,
        /// Seconds to wait.
        retry_after_seconds: u32,
    },
    /// The server cannot serve now.
    #[error("{message}")]
    ServiceUnavailable {
        /// Why.
        message: String,
    },
    /// The disk has no room for the write. Nothing of it was done.
    #[error("{message}")]
    StorageFull {
        /// Which disk, and what to do.
        message: String,
    },
    /// The request is understood, but this server has no means to serve it.
    #[error("{message}")]
    NotImplemented {
        /// What is missing and what serves instead.
        message: String,
    },
    /// A fault of the server itself.
    #[error("Internal error occurred: {message}")]
    Internal {
        /// What broke.
        message: String,
    },
}

const GENERATED_TAKEN: &str = ", the server was not able to generate a unique name for the object";

/// One field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldConflict {
    /// The other manager, as messages name it, for example `"kubectl" using v1`.
    pub manager: String,
    /// Path of the field, for example `.spec.replicas`.
    pub field: String,
}

impl ApiError {
    /// The text of a write against an outdated version.
    pub const MODIFIED: &'static str = "the object has been modified; please apply your changes to \
         the latest version and try again";

    /// A missing object.
    pub fn not_found(resource: &GroupResource, name: impl Into<String>) -> Self {
        Self::NotFound {
            resource: resource.clone(),
            name: name.into(),
        }
    }

    /// A version conflict or failed precondition.
    pub fn conflict(
        resource: &GroupResource,
        name: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::Conflict {
            resource: resource.clone(),
            name: name.into(),
            message: message.into(),
        }
    }

    /// A request that cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest {
            message: message.into(),
        }
    }

    /// A fault of the server itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal {
            message: message.into(),
        }
    }
}
