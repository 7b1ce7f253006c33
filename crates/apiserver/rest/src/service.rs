//! One HTTP request in, one answer out, whether it came over a socket or from a client in this process.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, USER_AGENT},
    request::Parts,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kthena_apiserver_objects::ApiError;

use crate::{
    accept::{self, Accepted, Shape},
    answer::{self, Answer, Body},
    discovery,
    handlers::{self, Call},
    openapi,
    query::Query,
    request_info::{self, Target},
    server::Inner,
};

/// The largest body in bytes that is read.
const BODY_LIMIT: usize = 3 << 20;

/// What answers can be written as.
const PRODUCED: [&str; 2] = ["application/json", "application/yaml"];

/// The API as a function of requests. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct ApiService {
    inner: Arc<Inner>,
}

impl ApiService {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Answers a request that is authorized already.
    pub(crate) async fn respond<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let answer = match read_body(body).await {
            Ok(body) => self.answer(&parts, body).await,
            Err(error) => Err(error),
        };
        answer.unwrap_or_else(|error| answer::error(&error))
    }

    async fn answer(&self, parts: &Parts, body: Bytes) -> Answer {
        let target = request_info::parse(parts.uri.path());
        if let Target::Resource(path) = target {
            let catalog = self.inner.engine.catalog();
            if catalog
                .of_version(&path.group, &path.version)
                .next()
                .is_none()
            {
                return Ok(answer::no_such_page());
            }
            let call = self.call(parts, path, body)?;
            return Box::pin(handlers::handle(call)).await;
        }
        if let Target::OpenApiV3(rest) = &target {
            return openapi::answer(&self.inner.engine, rest, parts);
        }
        if target == Target::OpenApiV2 {
            return Ok(openapi::answer_v2(&self.inner.engine, parts));
        }
        let accepted = accepted(&parts.headers)?;
        let catalog = self.inner.engine.catalog();
        let found = match (target, accepted.shape) {
            (Target::CoreVersions, Shape::Discovery(form)) => {
                return Ok(aggregated(
                    form,
                    &discovery::aggregated(&catalog, form, true),
                ));
            }
            (Target::GroupList, Shape::Discovery(form)) => {
                return Ok(aggregated(
                    form,
                    &discovery::aggregated(&catalog, form, false),
                ));
            }
            (Target::CoreVersions, _) => Some(discovery::core_versions()),
            (Target::GroupList, _) => Some(discovery::group_list(&catalog)),
            (Target::Group(name), _) => discovery::group(&catalog, &name),
            (Target::ResourceList { group, version }, _) => {
                discovery::resource_list(&catalog, &group, &version)
            }
            (Target::Version, _) => Some(discovery::version()),
            (Target::Root, _) => Some(root()),
            (Target::Health, _) => return Ok(plain(StatusCode::OK, "ok")),
            (Target::Ready, _) => return Ok(self.readiness()),
            _ => None,
        };
        match found {
            Some(found) => answer::value(StatusCode::OK, accepted.encoding, &found),
            None => Ok(answer::no_such_page()),
        }
    }

    /// Not ready while the disk refuses writes, in the words of the real server.
    fn readiness(&self) -> Response<Body> {
        match &*self.inner.engine.fault().borrow() {
            None => plain(StatusCode::OK, "ok"),
            Some(fault) => plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("[+]ping ok\n[-]disk failed: {fault}\nreadyz check failed\n"),
            ),
        }
    }

    fn call(
        &self,
        parts: &Parts,
        path: request_info::ResourcePath,
        body: Bytes,
    ) -> Result<Call, ApiError> {
        let catalog = self.inner.engine.catalog();
        let kind = catalog
            .get(&path.group, &path.version, &path.resource)
            .filter(|kind| kind.namespaced || path.namespace.is_none())
            .ok_or(ApiError::UnknownPath)?;
        let is_log = path.subresource.as_deref() == Some("log");
        // A log is plain text, whatever the client says it accepts.
        let accepted = if is_log {
            Accepted::default()
        } else {
            accepted(&parts.headers)?
        };
        Ok(Call {
            server: Arc::clone(&self.inner),
            kind: Arc::clone(kind),
            query: Query::parse(parts.uri.query()),
            method: parts.method.clone(),
            accepted,
            content_type: media_type(&parts.headers),
            user_agent: header(&parts.headers, USER_AGENT).to_owned(),
            path,
            body,
        })
    }
}

fn plain(code: StatusCode, text: &str) -> Response<Body> {
    answer::whole(code, "text/plain; charset=utf-8", text.to_owned().into())
}

async fn read_body<B>(body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::TooLarge { limit: BODY_LIMIT })
        }
        Err(error) => Err(ApiError::bad_request(format!(
            "the body cannot be read: {error}"
        ))),
    }
}

fn accepted(headers: &HeaderMap) -> Result<Accepted, ApiError> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept::negotiate(accept).ok_or_else(|| ApiError::NotAcceptable {
        accepted: PRODUCED.map(ToOwned::to_owned).to_vec(),
    })
}

fn header(headers: &HeaderMap, name: http::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn media_type(headers: &HeaderMap) -> String {
    let value = header(headers, CONTENT_TYPE);
    let bare = value.split(';').next().unwrap_or_default();
    bare.trim().to_ascii_lowercase()
}

fn aggregated(form: &str, document: &serde_json::Value) -> Response<Body> {
    let mut response = answer::json(document);
    let content_type =
        format!("application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList");
    if let Ok(content_type) = content_type.parse() {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

fn root() -> serde_json::Value {
    serde_json::json!({
        "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"],
    })
}
