//! Get and list.

use http::StatusCode;
use kthena_apiserver_objects::ApiError;

use super::{Call, present::Presenter};
use crate::{
    answer::Answer,
    decode::{self, Decoded},
    protobuf,
    query::ReadOptions,
    server::Inner,
};

/// One object.
pub(crate) fn get(call: &Call) -> Answer {
    let presenter = Presenter::new(call)?;
    let object = {
        let store = call.server.engine.store();
        store
            .fetch(call.kind.group_resource(), call.namespace(), call.name())?
            .clone()
    };
    presenter.answer(StatusCode::OK, &object, Inner::now())
}

/// A collection.
pub(crate) fn list(call: &Call, options: &ReadOptions) -> Answer {
    let presenter = Presenter::new(call)?;
    let query = options
        .raw
        .list_query(&call.kind.rules, call.path.namespace.as_deref())?;
    let page = {
        let store = call.server.engine.store();
        store.list(call.kind.group_resource(), &query)?
    };
    presenter.list(&page, Inner::now())
}

/// The body as an object, read as JSON, YAML or protobuf.
pub(crate) fn body(call: &Call) -> Result<Decoded, ApiError> {
    let decoded = match call.content_type.as_str() {
        "application/json" | "" => decode::json(&call.body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => decode::yaml(&call.body),
        "application/vnd.kubernetes.protobuf" => {
            let value = protobuf::decode(&call.body)
                .map_err(|error| ApiError::bad_request(error.to_string()))?;
            return Ok(Decoded {
                value,
                duplicates: Vec::new(),
            });
        }
        _ => {
            let accepted = [
                "application/json",
                "application/yaml",
                "application/vnd.kubernetes.protobuf",
            ];
            return Err(ApiError::UnsupportedMediaType {
                accepted: accepted.map(ToOwned::to_owned).to_vec(),
            });
        }
    };
    decoded.map_err(|error| ApiError::bad_request(error.to_string()))
}
