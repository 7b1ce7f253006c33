//! Builds HTTP answers: JSON, YAML, errors as `Status` objects, and streams.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WARNING},
};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use kthena_apiserver_objects::ApiError;
use serde_json::Value;

use crate::accept::Encoding;

/// The body of every answer. It cannot fail: a stream that breaks just ends.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer or the error that takes its place.
pub(crate) type Answer = Result<Response<Body>, ApiError>;

/// An answer with a body that is complete.
pub(crate) fn whole(code: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = code;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer whose body comes bit by bit.
pub(crate) fn stream(
    content_type: &'static str,
    chunks: impl Stream<Item = Bytes> + Send + 'static,
) -> Response<Body> {
    let frames = chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer in the encoding the client asked for; `body` is JSON.
pub(crate) fn encoded(code: StatusCode, encoding: Encoding, body: Bytes) -> Answer {
    match encoding {
        Encoding::Json => Ok(whole(code, "application/json", body)),
        Encoding::Yaml => {
            let unreadable =
                |cause: String| ApiError::internal(format!("cannot write YAML: {cause}"));
            let value: Value =
                serde_json::from_slice(&body).map_err(|cause| unreadable(cause.to_string()))?;
            let text =
                serde_yaml_ng::to_string(&value).map_err(|cause| unreadable(cause.to_string()))?;
            Ok(whole(code, "application/yaml", text.into()))
        }
    }
}

/// A JSON value in the encoding the client asked for.
pub(crate) fn value(code: StatusCode, encoding: Encoding, value: &Value) -> Answer {
    encoded(code, encoding, value.to_string().into())
}

/// A JSON answer with status 200.
pub(crate) fn json(value: &Value) -> Response<Body> {
    whole(StatusCode::OK, "application/json", value.to_string().into())
}

/// A refusal.
pub(crate) fn error(error: &ApiError) -> Response<Body> {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if code.is_server_error() {
        tracing::warn!(%error, "a request failed");
    }
    let mut response = whole(code, "application/json", status(error).to_string().into());
    if let ApiError::TooManyRequests {
        retry_after_seconds,
        ..
    } = error
    {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(*retry_after_seconds));
    }
    response
}

/// The `Status` of a refusal, in the words of the web framework around the real server where that answers itself.
fn status(error: &ApiError) -> Value {
    let mut status = error.status();
    match error {
        ApiError::UnknownPath => status["details"] = serde_json::json!({}),
        ApiError::MethodNotSupported { .. } => {
            status["message"] =
                "the server does not allow this method on the requested resource".into();
            status["details"] = serde_json::json!({});
        }
        ApiError::NotAcceptable { accepted } => {
            let forms = accepted.join(", ");
            let text = format!("406: Not Acceptable\n\nAvailable representations: {forms}");
            status["message"] = text.into();
        }
        ApiError::UnsupportedMediaType { accepted } if accepted.is_empty() => {
            status["message"] = "415: Unsupported Media Type".into();
        }
        _ => {}
    }
    status
}

/// The answer for a path that belongs to nothing.
pub(crate) fn no_such_page() -> Response<Body> {
    whole(
        StatusCode::NOT_FOUND,
        "text/plain; charset=utf-8",
        "404 page not found\n".into(),
    )
}

/// Adds one `Warning` header for each text.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for text in warnings {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(header) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, header);
        }
    }
}
