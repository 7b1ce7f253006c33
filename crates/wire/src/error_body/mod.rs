//! The body of an error answer: `{"error":{"message","type","param","code"}}`.
//!
//! Client libraries choose their exception by the HTTP status and show `message`; programs look at
//! `type` and `code`. [`kind_of`] is the one table from status to `type`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// An error answer. Absent `param` and `code` are sent as `null`, as OpenAI does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The only member.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// The class of error.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The member of the request at fault.
    #[serde(default)]
    pub param: Option<Cow<'static, str>>,
    /// The precise cause; a word from OpenAI, the HTTP status from engines.
    #[serde(default)]
    pub code: Option<ErrorCode>,
}

/// The two spellings of a cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ErrorCode {
    /// A word such as `model_not_found`.
    Word(Cow<'static, str>),
    /// A number, in practice the HTTP status.
    Number(i64),
}

impl ErrorBody {
    /// An error whose `type` follows from `status`, with no `param` and no `code`.
    pub fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self::of_kind(kind_of(status), message)
    }

    /// An error with a `type` of the caller's choice.
    pub fn of_kind(
        kind: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (message, kind) = (message.into(), kind.into());
        Self {
            error: ErrorDetail {
                message,
                kind,
                param: None,
                code: None,
            },
        }
    }

    /// Names the member of the request at fault.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.error.param = Some(param.into());
        self
    }

    /// Names the precise cause by a word.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.error.code = Some(ErrorCode::Word(code.into()));
        self
    }

    /// Names the precise cause by a number.
    #[must_use]
    pub fn with_number(mut self, code: i64) -> Self {
        self.error.code = Some(ErrorCode::Number(code));
        self
    }

    /// The body as JSON.
    pub fn to_bytes(&self) -> Bytes {
        // Encoding strings and numbers into memory has no failing case; an empty body would be the
        // only thing left to send.
        serde_json::to_vec(self).map_or_else(|_| Bytes::new(), Bytes::from)
    }
}

/// The `type` OpenAI's API gives an error of this HTTP status.
pub fn kind_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        409 => "conflict_error",
        429 => "rate_limit_error",
        503 => "service_unavailable_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}
