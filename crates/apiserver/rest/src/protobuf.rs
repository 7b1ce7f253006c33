//! Reads objects that Go clients send in protobuf, such as those of `kubectl create configmap`.
//!
//! Recent typed Go clients write protobuf and do not fall back to JSON. How messages look is data, made by
//! `examples/cut_protobuf.rs`; it is unpacked for each body, since they are rare. Answers are always JSON, which these
//! clients accept.
//!
//! # Invariants
//!
//! - Unknown fields are skipped, as protobuf wants it; a body that is cut off is an error.
//! - A value that Go would leave out of JSON (a zero that is no pointer) is left out here too.

mod wire;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, io::Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use wire::{Fields, Payload, WireError};

static PACKED: &[u8] = include_bytes!("../data/protobuf.json.gz");

/// What every such body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// How deeply messages may nest.
const MAX_DEPTH: usize = 64;

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtobufError {
    #[error("the body does not begin as Kubernetes protobuf does")]
    Magic,
    #[error("no protobuf form of {kind} in {api_version} is known")]
    UnknownKind { api_version: String, kind: String },
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("a text in the body is not UTF-8")]
    Text,
    #[error("raw JSON in the body cannot be read")]
    Raw(#[from] serde_json::Error),
    #[error("the body is nested too deeply")]
    Depth,
}

/// A field as the data file has it: number, JSON name, type, mode.
#[derive(Debug, Deserialize)]
struct Row(u64, String, String, Mode);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Mode {
    /// Present when sent.
    #[serde(rename = "p")]
    Pointer,
    /// Present when not zero.
    #[serde(rename = "v")]
    Plain,
    #[serde(rename = "l")]
    List,
    #[serde(rename = "m")]
    Map,
    /// Its members belong to the object around it.
    #[serde(rename = "i")]
    Inline,
}

type Messages = HashMap<String, Vec<Row>>;

/// Reads a body into the JSON form of its object.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields::new(body) {
        match field? {
            (1, Payload::Bytes(type_meta)) => {
                for field in Fields::new(type_meta) {
                    match field? {
                        (1, payload) => api_version = text(payload)?,
                        (2, payload) => kind = text(payload)?,
                        _ => {}
                    }
                }
            }
            (2, Payload::Bytes(object)) => raw = object,
            _ => {}
        }
    }
    let messages = unpack();
    let name =
        message_name(&messages, &api_version, &kind).ok_or_else(|| ProtobufError::UnknownKind {
            api_version: api_version.clone(),
            kind: kind.clone(),
        })?;
    let mut object = message(&messages, &name, raw, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

fn unpack() -> Messages {
    let mut packed = Vec::new();
    // The data is part of the program; a test reads it.
    let read = GzDecoder::new(PACKED).read_to_end(&mut packed);
    read.ok()
        .and_then(|_| serde_json::from_slice(&packed).ok())
        .unwrap_or_default()
}

/// Options of deletions come in the version of whatever is deleted.
fn message_name(messages: &Messages, api_version: &str, kind: &str) -> Option<String> {
    let package = match api_version.split_once('/') {
        None => format!("core/{api_version}"),
        Some((group, version)) => format!("{}/{version}", group.split('.').next().unwrap_or(group)),
    };
    [format!("{package}.{kind}"), format!("meta/v1.{kind}")]
        .into_iter()
        .find(|name| messages.contains_key(name))
}

fn message(
    messages: &Messages,
    name: &str,
    bytes: &[u8],
    depth: usize,
) -> Result<Map<String, Value>, ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Depth);
    }
    let rows = messages.get(name).map(Vec::as_slice).unwrap_or_default();
    let mut object = Map::new();
    for field in Fields::new(bytes) {
        let (number, payload) = field?;
        let Some(Row(_, json, kind, mode)) = rows.iter().find(|row| row.0 == number) else {
            continue;
        };
        match mode {
            Mode::Inline => object.extend(message(messages, kind, payload.bytes()?, depth + 1)?),
            Mode::List => {
                let value = value(messages, kind, payload, depth)?;
                let list = object
                    .entry(json.clone())
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Some(list) = list.as_array_mut() {
                    list.push(value);
                }
            }
            Mode::Map => {
                let (key, value) = entry(messages, kind, payload.bytes()?, depth)?;
                let map = object
                    .entry(json.clone())
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Some(map) = map.as_object_mut() {
                    map.insert(key, value);
                }
            }
            Mode::Pointer | Mode::Plain => {
                let value = value(messages, kind, payload, depth)?;
                if *mode == Mode::Pointer || !is_zero(&value) {
                    object.insert(json.clone(), value);
                }
            }
        }
    }
    Ok(object)
}

fn entry(
    messages: &Messages,
    kind: &str,
    bytes: &[u8],
    depth: usize,
) -> Result<(String, Value), ProtobufError> {
    let mut key = String::new();
    let mut found = value(messages, kind, Payload::Bytes(&[]), depth).unwrap_or_default();
    for field in Fields::new(bytes) {
        match field? {
            (1, payload) => key = text(payload)?,
            (2, payload) => found = value(messages, kind, payload, depth)?,
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(
    messages: &Messages,
    kind: &str,
    payload: Payload<'_>,
    depth: usize,
) -> Result<Value, ProtobufError> {
    Ok(match kind {
        "s" => text(payload)?.into(),
        "b" => STANDARD.encode(payload.bytes()?).into(),
        "?" => (payload.number()? != 0).into(),
        "i" => payload.number()?.into(),
        "t" => time(payload.bytes()?, 0)?,
        "T" => time(payload.bytes()?, 6)?,
        "q" => first_text(payload.bytes()?)?.into(),
        "o" => int_or_text(payload.bytes()?)?,
        "r" => raw(payload.bytes()?)?,
        name => Value::Object(message(messages, name, payload.bytes()?, depth + 1)?),
    })
}

fn text(payload: Payload<'_>) -> Result<String, ProtobufError> {
    let bytes = payload.bytes()?;
    std::str::from_utf8(bytes)
        .map(ToOwned::to_owned)
        .map_err(|_| ProtobufError::Text)
}

/// The text in field 1 of a message that holds nothing else.
fn first_text(bytes: &[u8]) -> Result<String, ProtobufError> {
    match Fields::new(bytes).next() {
        Some(field) => text(field?.1),
        None => Ok(String::new()),
    }
}

/// A time as JSON shows it, or `null` for the zero time.
fn time(bytes: &[u8], digits: u8) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(bytes) {
        match field? {
            (1, payload) => seconds = payload.number()?,
            (2, payload) => nanos = payload.number()?,
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).unwrap_or_default();
    let time = Timestamp::new(seconds, nanos).unwrap_or(Timestamp::UNIX_EPOCH);
    if time == Timestamp::UNIX_EPOCH {
        return Ok(Value::Null);
    }
    let width = usize::from(digits);
    Ok(format!("{time:.width$}").into())
}

fn int_or_text(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut words) = (false, 0, String::new());
    for field in Fields::new(bytes) {
        match field? {
            (1, payload) => is_text = payload.number()? != 0,
            (2, payload) => number = payload.number()?,
            (3, payload) => words = text(payload)?,
            _ => {}
        }
    }
    Ok(if is_text { words.into() } else { number.into() })
}

/// JSON in field 1 of a message that holds nothing else.
fn raw(bytes: &[u8]) -> Result<Value, ProtobufError> {
    match Fields::new(bytes).next() {
        Some(field) => Ok(serde_json::from_slice(field?.1.bytes()?)?),
        None => Ok(Value::Null),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
