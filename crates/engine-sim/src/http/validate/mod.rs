//! Explains why a body is not a request, in the words of the validator the engines use.
//!
//! A body is first decoded straight into its type. Only when that fails is it looked at member by
//! member, to name the one at fault.

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::http::respond::ApiError;

/// What a member must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
    List,
    Object,
    /// Any type; only its presence matters.
    Anything,
}

/// A member that must be there.
const REQUIRED: bool = true;
const OPTIONAL: bool = false;

pub(crate) type Members = &'static [(&'static str, Kind, bool)];

const SAMPLING: Members = &[
    ("model", Kind::Text, OPTIONAL),
    ("stream", Kind::Boolean, OPTIONAL),
    ("stream_options", Kind::Object, OPTIONAL),
    ("max_tokens", Kind::Integer, OPTIONAL),
    ("max_completion_tokens", Kind::Integer, OPTIONAL),
    ("min_tokens", Kind::Integer, OPTIONAL),
    ("n", Kind::Integer, OPTIONAL),
    ("seed", Kind::Integer, OPTIONAL),
    ("temperature", Kind::Number, OPTIONAL),
    ("ignore_eos", Kind::Boolean, OPTIONAL),
    ("user", Kind::Text, OPTIONAL),
    ("bootstrap_host", Kind::Text, OPTIONAL),
    ("bootstrap_port", Kind::Integer, OPTIONAL),
    ("bootstrap_room", Kind::Integer, OPTIONAL),
    ("lora_name", Kind::Text, OPTIONAL),
    ("lora_path", Kind::Text, OPTIONAL),
];
pub(crate) const CHAT: Members = &[("messages", Kind::List, REQUIRED)];
pub(crate) const COMPLETION: Members = &[("prompt", Kind::Anything, REQUIRED)];
pub(crate) const INPUT: Members = &[("input", Kind::Anything, REQUIRED)];
pub(crate) const TOKENS: Members = &[("tokens", Kind::List, REQUIRED)];
pub(crate) const NONE: Members = &[];

/// Decodes a body, or says what is wrong with it.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8], members: Members) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| explain(body, members, &error))
}

fn explain(body: &[u8], members: Members, error: &serde_json::Error) -> ApiError {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return invalid_json(body, &error),
    };
    let Value::Object(object) = &value else {
        let fault = Fault {
            kind: "model_attributes_type",
            location: "body".to_owned(),
            message: "Input should be a valid dictionary or object to extract fields from",
            input: shown(&value),
            context: "",
        };
        return fault.into_error();
    };
    for (name, kind, required) in members.iter().chain(SAMPLING) {
        let location = format!("body.{name}");
        let fault = match object.get(*name) {
            None if *required => Some(("missing", "Field required", shown(&value))),
            None | Some(Value::Null) => None,
            Some(member) => {
                mismatch(*kind, member).map(|(kind, message)| (kind, message, shown(member)))
            }
        };
        if let Some((kind, message, input)) = fault {
            let context = "";
            return Fault {
                kind,
                location,
                message,
                input,
                context,
            }
            .into_error();
        }
    }
    ApiError::of_kind(
        StatusCode::BAD_REQUEST,
        "Bad Request",
        format!("1 validation error: {error}"),
    )
}

/// The validator's name for the error and its message, if `value` is not of this kind.
fn mismatch(kind: Kind, value: &Value) -> Option<(&'static str, &'static str)> {
    let (fits, name, message) = match kind {
        Kind::Text => (
            value.is_string(),
            "string_type",
            "Input should be a valid string",
        ),
        Kind::Integer => (
            value.is_i64() || value.is_u64(),
            "int_type",
            "Input should be a valid integer",
        ),
        Kind::Number => (
            value.is_number(),
            "float_type",
            "Input should be a valid number",
        ),
        Kind::Boolean => (
            value.is_boolean(),
            "bool_type",
            "Input should be a valid boolean",
        ),
        Kind::List => (
            value.is_array(),
            "list_type",
            "Input should be a valid list",
        ),
        Kind::Object => (
            value.is_object(),
            "dict_type",
            "Input should be a valid dictionary",
        ),
        Kind::Anything => (true, "", ""),
    };
    (!fits).then_some((name, message))
}

fn invalid_json(body: &[u8], error: &serde_json::Error) -> ApiError {
    let fault = Fault {
        kind: "json_invalid",
        location: format!("body.{}", offset(body, error)),
        message: "JSON decode error",
        input: "'<dict of 0 items>'".to_owned(),
        context: ", 'ctx': {'error': 'Expecting value'}",
    };
    fault.into_error()
}

/// Position of a syntax error in characters from the start.
fn offset(body: &[u8], error: &serde_json::Error) -> usize {
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + error.column()).min(body.len())
}

#[cfg(test)]
mod tests;

struct Fault {
    kind: &'static str,
    location: String,
    message: &'static str,
    input: String,
    context: &'static str,
}

impl Fault {
    fn into_error(self) -> ApiError {
        let Self {
            kind,
            location,
            message,
            input,
            context,
        } = self;
        let text = format!(
            "1 validation error:\n  {{'type': '{kind}', 'loc': '{location}', 'msg': '{message}', \
             'input': {input}{context}}}"
        );
        ApiError::of_kind(StatusCode::BAD_REQUEST, "Bad Request", text).at(location)
    }
}

/// A value as Python would print it, collections by their size.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(items) => format!("'<list of {} items>'", items.len()),
        Value::Object(members) => format!("'<dict of {} items>'", members.len()),
    }
}
