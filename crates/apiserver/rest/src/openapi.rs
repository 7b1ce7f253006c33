//! OpenAPI documents, as far as `kubectl explain` and `kubectl apply` read them.
//!
//! kubectl looks for three things: the paths of a resource with the kind they are about, which query options a patch
//! takes and in which formats, and the schema of the kind. Documents are written when they are asked for, since
//! clients keep them by the hash in their address.

mod document;
#[cfg(test)]
mod tests;
mod v2;

use std::sync::Arc;

use http::{
    HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH},
    request::Parts,
};
use kthena_apiserver_objects::ApiError;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    answer::{self, Answer, Body},
    catalog::{Catalog, Origin, ResourceType, api_version, custom},
    engine::Engine,
};

/// Changes when the shape of the documents does, so that clients do not use old ones.
const EDITION: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");

/// Answers `/openapi/v3` and what lies below it.
pub(crate) fn answer(engine: &Engine, rest: &str, parts: &Parts) -> Answer {
    let catalog = engine.catalog();
    if rest.is_empty() {
        return Ok(answer::json(&index(&catalog)));
    }
    let (group, version) = match rest.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return Err(ApiError::UnknownPath),
    };
    let types: Vec<Arc<ResourceType>> = catalog.of_version(&group, &version).cloned().collect();
    if types.is_empty() {
        return Err(ApiError::UnknownPath);
    }
    let hash = hash(&types);
    let tag = format!("\"{hash}\"");
    let known = parts
        .headers
        .get(IF_NONE_MATCH)
        .is_some_and(|held| held.as_bytes() == tag.as_bytes());
    let mut response = if known {
        answer::whole(
            StatusCode::NOT_MODIFIED,
            "application/json",
            bytes::Bytes::new(),
        )
    } else {
        answer::json(&document::write(&types, &|kind| {
            custom_schema(engine, kind)
        }))
    };
    let headers = response.headers_mut();
    headers.insert(
        ETAG,
        HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("")),
    );
    if parts.uri.query().is_some_and(|query| query.contains(&hash)) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    Ok(response)
}

/// The media type of the older document in protobuf, which Go clients ask for.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers `/openapi/v2`.
pub(crate) fn answer_v2(engine: &Engine, parts: &Parts) -> Response<Body> {
    let catalog = engine.catalog();
    let mut schemas = Map::new();
    for group in catalog.groups() {
        for version in catalog.versions(group) {
            let types: Vec<_> = catalog.of_version(group, version).cloned().collect();
            let mut document = document::write(&types, &|kind| custom_schema(engine, kind));
            if let Value::Object(found) = document["components"]["schemas"].take() {
                schemas.extend(found);
            }
        }
    }
    let document = v2::json_document(schemas);
    let accept = parts
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("proto-openapi")) {
        let body = v2::protobuf_document(&document);
        return answer::whole(StatusCode::OK, PROTOBUF, body.into());
    }
    answer::json(&document)
}

fn index(catalog: &Catalog) -> Value {
    let mut paths = Map::new();
    for group in catalog.groups() {
        for version in catalog.versions(group) {
            let types: Vec<_> = catalog.of_version(group, version).cloned().collect();
            let prefix = if group.is_empty() { "api" } else { "apis" };
            let place = format!("{prefix}/{}", api_version(group, version));
            let address = format!("/openapi/v3/{place}?hash={}", hash(&types));
            paths.insert(place, json!({ "serverRelativeURL": address }));
        }
    }
    json!({ "paths": paths })
}

/// Stands for the content of a document.
fn hash(types: &[Arc<ResourceType>]) -> String {
    let mut digest = Sha256::new();
    digest.update(EDITION);
    for kind in types {
        digest.update(&kind.plural);
        if let Origin::Custom(custom) = &kind.origin {
            let (uid, generation) = custom.revision();
            digest.update(uid);
            digest.update(generation.to_be_bytes());
        }
    }
    let digest = digest.finalize();
    let (start, _) = digest.split_at(16);
    let number = start
        .iter()
        .fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    format!("{number:032X}")
}

/// The schema of a custom type as its definition has it.
fn custom_schema(engine: &Engine, kind: &ResourceType) -> Option<Value> {
    let name = &kind.custom()?.definition;
    let definition = engine
        .store()
        .get(&custom::definitions(), "", name)?
        .value();
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let version = versions
        .iter()
        .find(|version| version["name"] == kind.version.as_str())?;
    version.pointer("/schema/openAPIV3Schema").cloned()
}
