//! Writes: create, patch and delete, with the answers a controller decides on.
//!
//! Bodies are sent as given and answers are read only as far as the identity of the object, so that writing a
//! large object costs no second decoding of it.

use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use kube::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::head;
use crate::target::{ObjectKey, Target};

/// Identity, version and owners of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stamp {
    /// Name.
    pub name: String,
    /// Unique over all time.
    pub uid: String,
    /// Version.
    pub resource_version: String,
    /// Set on an object that is being deleted.
    pub deletion_timestamp: Option<String>,
    /// Who it goes with.
    pub owner_references: Vec<Owner>,
}

/// One owner of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Unique identity of the owner.
    pub uid: String,
    /// It manages the object.
    pub controller: bool,
}

/// Identity and version of an object that was just written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Name, also when the server chose it.
    pub name: String,
    /// Unique over all time.
    pub uid: String,
    /// Version that the write made.
    pub resource_version: String,
}

/// What happens to the objects that a deleted object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// They are deleted afterwards.
    #[default]
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay.
    Orphan,
}

/// Why a write had no effect.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Something of that name is there already.
    #[error("already exists")]
    AlreadyExists,
    /// There is no such object, or its namespace is gone.
    #[error("not found")]
    NotFound,
    /// The object is not in the state the write was meant for.
    #[error("conflict: {message}")]
    Conflict {
        /// In the server's words.
        message: String,
    },
    /// The server understood and refused: invalid, forbidden, over quota.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// In the server's words.
        message: String,
    },
    /// Nobody knows whether it had an effect.
    #[error("no usable answer: {0}")]
    Unknown(#[source] Box<kube::Error>),
    /// The object cannot be written as JSON.
    #[error("object cannot be written: {0}")]
    Encoding(#[from] serde_json::Error),
    /// The URL cannot be built from the object's name.
    #[error("request cannot be built: {0}")]
    Request(#[from] http::Error),
}

impl Stamp {
    /// Uid of the managing owner, empty if there is none.
    pub fn controller(&self) -> &str {
        self.owner_references
            .iter()
            .find(|owner| owner.controller)
            .map_or("", |owner| &owner.uid)
    }
}

#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    metadata: Stamp,
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match (status.code, status.reason.as_str()) {
                (409, "AlreadyExists") => Self::AlreadyExists,
                (409, _) => Self::Conflict {
                    message: status.message,
                },
                (404, _) => Self::NotFound,
                (500.., _) => Self::Unknown(Box::new(kube::Error::Api(status))),
                (code, _) => Self::Refused {
                    code,
                    message: status.message,
                },
            },
            other => Self::Unknown(Box::new(other)),
        }
    }
}

/// Creates `object`, which carries its type and name itself.
pub async fn create(
    client: &Client,
    target: &Target,
    namespace: Option<&str>,
    object: &impl Serialize,
) -> Result<Written, WriteError> {
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(target.collection(namespace))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(object)?)?;
    written(client, request).await
}

/// Applies a JSON merge patch. A `metadata.resourceVersion` in it makes the write conditional.
pub async fn merge_patch(
    client: &Client,
    target: &Target,
    key: &ObjectKey,
    subresource: Option<&str>,
    patch: &impl Serialize,
) -> Result<Written, WriteError> {
    let request = http::Request::builder()
        .method(Method::PATCH)
        .uri(url(target, key, subresource))
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(serde_json::to_vec(patch)?)?;
    written(client, request).await
}

/// Replaces an object, or a part of it. A `metadata.resourceVersion` in the body makes the write conditional.
pub async fn replace(
    client: &Client,
    target: &Target,
    key: &ObjectKey,
    subresource: Option<&str>,
    object: &impl Serialize,
) -> Result<Written, WriteError> {
    let request = http::Request::builder()
        .method(Method::PUT)
        .uri(url(target, key, subresource))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(object)?)?;
    written(client, request).await
}

/// Reads an object, applies a JSON merge patch to it and stores it again, for those who may update but not patch.
/// A conflict means that somebody changed it in between.
pub async fn update(
    client: &Client,
    target: &Target,
    key: &ObjectKey,
    patch: &Value,
) -> Result<Written, WriteError> {
    let request = http::Request::builder()
        .uri(target.object(key))
        .body(Vec::new())?;
    let mut object = client.request::<Value>(request).await?;
    merge(&mut object, patch);
    replace(client, target, key, None, &object).await
}

/// A JSON merge patch, RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

async fn written(client: &Client, request: http::Request<Vec<u8>>) -> Result<Written, WriteError> {
    let answer = client.request_text(request).await?;
    let head = head::read(&answer).map_err(|fault| {
        // Something was answered, so something may have been done.
        WriteError::Unknown(Box::new(kube::Error::SerdeError(fault)))
    })?;
    Ok(Written {
        name: head.name,
        uid: head.uid,
        resource_version: head.resource_version,
    })
}

fn url(target: &Target, key: &ObjectKey, subresource: Option<&str>) -> String {
    let mut url = target.object(key);
    if let Some(subresource) = subresource {
        url.push('/');
        url.push_str(subresource);
    }
    url
}

/// Deletes the object if it still has that uid. An object that is gone already is `NotFound`.
pub async fn delete(
    client: &Client,
    target: &Target,
    key: &ObjectKey,
    uid: &str,
    propagation: Propagation,
) -> Result<(), WriteError> {
    let options = DeleteOptions {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        propagation_policy: Some(propagation.as_str().to_owned()),
        ..DeleteOptions::default()
    };
    let request = http::Request::builder()
        .method(Method::DELETE)
        .uri(target.object(key))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&options)?)?;
    client.request_text(request).await?;
    Ok(())
}

/// Reads the identity of one object; `None` if there is none.
pub async fn stamp(
    client: &Client,
    target: &Target,
    key: &ObjectKey,
) -> Result<Option<Stamp>, WriteError> {
    let request = http::Request::builder()
        .uri(target.object(key))
        .body(Vec::new())?;
    match client
        .request::<Answer>(request)
        .await
        .map_err(WriteError::from)
    {
        Ok(answer) => Ok(Some(answer.metadata)),
        Err(WriteError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Propagation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}
