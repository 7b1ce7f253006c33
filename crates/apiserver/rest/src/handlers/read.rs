//! Get and list.

use http::StatusCode;
use kthena_apiserver_objects::ApiError;

use super::{Call, present::Presenter};
use crate::{answer::Answer, query::ReadOptions, server::Inner};

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

/// The body as an object, read as JSON or YAML.
pub(crate) fn decode(call: &Call) -> Result<crate::decode::Decoded, ApiError> {
    let decoded = match call.content_type.as_str() {
        "application/json" | "" => crate::decode::json(&call.body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => crate::decode::yaml(&call.body),
        _ => {
            let accepted = ["application/json", "application/yaml"];
            return Err(ApiError::UnsupportedMediaType {
                accepted: accepted.map(ToOwned::to_owned).to_vec(),
            });
        }
    };
    decoded.map_err(|error| ApiError::bad_request(error.to_string()))
}
