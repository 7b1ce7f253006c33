//! Answers: bodies, JSON, errors in the engines' shape.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use kthena_wire::ErrorBody;

/// A stream was broken off on purpose or because the engine is gone.
#[derive(Debug, thiserror::Error)]
#[error("the answer was broken off")]
pub(crate) struct Broken;

pub(crate) type Body = UnsyncBoxBody<Bytes, Broken>;
pub(crate) type Answer = Response<Body>;

pub(crate) fn full(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    if !content_type.is_empty() {
        let value = HeaderValue::from_static(content_type);
        answer.headers_mut().insert(CONTENT_TYPE, value);
    }
    answer
}

pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    full(status, "application/json", body)
}

pub(crate) fn empty(status: StatusCode) -> Answer {
    full(status, "", Bytes::new())
}

pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    full(status, "text/plain; charset=utf-8", body)
}

/// What the web framework below the engines says to an unknown path or method.
pub(crate) fn detail(status: StatusCode) -> Answer {
    let reason = status.canonical_reason().unwrap_or_default();
    json(status, format!("{{\"detail\":\"{reason}\"}}"))
}

/// A fault of a request, on its way to becoming an answer.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) body: ErrorBody,
}

impl ApiError {
    /// An error of the engine's own checks.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::BAD_REQUEST => "BadRequestError",
            StatusCode::NOT_FOUND => "NotFoundError",
            StatusCode::UNAUTHORIZED => "Unauthorized",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableError",
            _ => "InternalServerError",
        };
        Self::of_kind(status, kind, message)
    }

    pub(crate) fn of_kind(
        status: StatusCode,
        kind: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let body = ErrorBody::of_kind(kind, message.into()).with_number(status.as_u16().into());
        Self { status, body }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn at(mut self, param: impl Into<String>) -> Self {
        self.body = self.body.with_param(param.into());
        self
    }

    pub(crate) fn into_answer(self) -> Answer {
        json(self.status, self.body.to_bytes())
    }
}
