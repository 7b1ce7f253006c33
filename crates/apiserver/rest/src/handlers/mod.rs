//! Requests for resources: which verb they are, and the verbs.
//!
//! # Where to go next
//!
//! `read` for get and list, `watching` for watches, `write` for create, update and patch, `delete` for deletions,
//! `questions` for what may be asked about oneself, `subresources` for scale, binding, eviction, logs and finalize, `present` for what an answer looks like.

pub(crate) mod delete;
pub(crate) mod planning;
mod present;
mod questions;
mod read;
mod scale;
mod subresources;
mod watching;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use kthena_apiserver_objects::{
    ApiError, GroupResource,
    write::{Author, Part, Tracking},
};

use crate::{
    accept::Accepted,
    answer::Answer,
    catalog::{ResourceType, Subresource},
    query::{Query, ReadOptions},
    request_info::ResourcePath,
    server::Inner,
};

/// The longest field manager name.
const MANAGER_LIMIT: usize = 128;

/// One request for a resource.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) server: Arc<Inner>,
    pub(crate) kind: Arc<ResourceType>,
    pub(crate) path: ResourcePath,
    pub(crate) query: Query,
    pub(crate) method: Method,
    pub(crate) accepted: Accepted,
    /// The media type of the body, without parameters.
    pub(crate) content_type: String,
    pub(crate) user_agent: String,
    pub(crate) body: Bytes,
}

/// Answers a request for a resource.
pub(crate) async fn handle(call: Call) -> Answer {
    if call.kind.is_question() {
        return questions::handle(&call);
    }
    match (&call.path.name, &call.path.subresource) {
        (None, _) => collection(call).await,
        (Some(_), None) => object(call).await,
        (Some(_), Some(name)) => {
            let subresource =
                Subresource::parse(name).filter(|subresource| call.kind.has(*subresource));
            if subresource.is_none() {
                subresources::refuse_connection(&call, name)?;
            }
            subresources::handle(call, subresource.ok_or(ApiError::UnknownPath)?).await
        }
    }
}

async fn collection(call: Call) -> Answer {
    match call.method {
        Method::GET | Method::HEAD => {
            let options = ReadOptions::read(&call.query)?;
            if options.watch || call.path.watch {
                watching::watch(&call, &options)
            } else {
                read::list(&call, &options)
            }
        }
        Method::POST => write::create(call).await,
        Method::DELETE if call.kind.verbs().contains(&"deletecollection") => {
            delete::collection(call).await
        }
        _ => Err(call.unsupported()),
    }
}

async fn object(call: Call) -> Answer {
    match call.method {
        Method::GET | Method::HEAD => {
            let options = ReadOptions::read(&call.query)?;
            if options.watch || call.path.watch {
                watching::watch(&call, &options)
            } else {
                read::get(&call)
            }
        }
        Method::PUT => write::update(call, Part::Main).await,
        Method::PATCH => write::patch(call, Part::Main).await,
        Method::DELETE => delete::object(call).await,
        _ => Err(call.unsupported()),
    }
}

impl Call {
    /// The refusal of a method that the path does not know.
    pub(crate) fn unsupported(&self) -> ApiError {
        let action = match self.method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "get",
        };
        let resource = GroupResource::new(&self.kind.group, &self.kind.plural);
        ApiError::MethodNotSupported {
            resource,
            action: action.to_owned(),
        }
    }

    /// The namespace of the path; empty for cluster-scoped resources.
    pub(crate) fn namespace(&self) -> &str {
        self.path.namespace.as_deref().unwrap_or_default()
    }

    /// The name of the path; empty for collections.
    pub(crate) fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or_default()
    }

    /// The field manager: as asked for, else the program's name.
    pub(crate) fn manager(&self, asked: Option<&str>) -> Result<String, ApiError> {
        let program = self.user_agent.split('/').next().unwrap_or_default();
        let manager = match asked {
            Some(asked) => asked,
            None if program.is_empty() => "unknown",
            None => program,
        };
        if asked.is_some_and(|asked| asked.len() > MANAGER_LIMIT) {
            let message =
                format!("fieldManager: Invalid value: must be at most {MANAGER_LIMIT} bytes");
            return Err(ApiError::bad_request(message));
        }
        Ok(manager.chars().take(MANAGER_LIMIT).collect())
    }
}

/// Who a write is recorded for, with all that the object store may not draw itself.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) manager: String,
    pub(crate) api_version: String,
    pub(crate) now: Timestamp,
    uid: String,
    seed: u64,
}

impl Signature {
    pub(crate) fn new(call: &Call, manager: Option<&str>) -> Result<Self, ApiError> {
        let id = uuid::Uuid::new_v4();
        Ok(Self {
            manager: call.manager(manager)?,
            api_version: call.kind.api_version(),
            now: Inner::now(),
            uid: id.to_string(),
            seed: uuid::Uuid::new_v4().as_u64_pair().0,
        })
    }

    /// The author of a write that records who set which field.
    pub(crate) fn author<'a>(&'a self, kind: &'a ResourceType) -> Author<'a> {
        let tracking = Tracking {
            manager: &self.manager,
            api_version: &self.api_version,
            schema: Some(&kind.schema),
        };
        Author {
            tracking: Some(tracking),
            ..self.silent()
        }
    }

    /// The author of a write whose field ownership is recorded already.
    pub(crate) fn silent(&self) -> Author<'_> {
        Author {
            now: self.now,
            uid: &self.uid,
            seed: self.seed,
            tracking: None,
        }
    }
}
