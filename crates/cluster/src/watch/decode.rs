//! Reads lists and watch lines without decoding the objects in them.
//!
//! A watch brings every object again on each of its changes, so reading is what a busy watch costs: a line is split
//! by position, and of the head of an object no more is read than it takes to find it.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What a server puts around an object, in the form that all servers write.
const BEFORE: [(&str, Kind); 3] = [
    (r#"{"type":"ADDED","object":"#, Kind::Stored),
    (r#"{"type":"MODIFIED","object":"#, Kind::Stored),
    (r#"{"type":"DELETED","object":"#, Kind::Removed),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Stored,
    Removed,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    #[serde(default)]
    pub(super) metadata: PageMeta,
    #[serde(borrow, default)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PageMeta {
    pub(super) resource_version: String,
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: u16,
    message: String,
}

/// One line of a watch. Objects are JSON only if they can be decoded.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// Added or modified.
    Stored(&'a str),
    Removed(&'a str),
    /// Nothing happened up to this version.
    Bookmark(String),
    Failed {
        code: u16,
        message: String,
    },
}

pub(super) fn event(line: &[u8]) -> Result<Event<'_>, serde_json::Error> {
    if let Some(event) = split(line) {
        return Ok(event);
    }
    let line: Line<'_> = serde_json::from_slice(line)?;
    Ok(match line.kind {
        "ADDED" | "MODIFIED" => Event::Stored(line.object.get()),
        "DELETED" => Event::Removed(line.object.get()),
        "BOOKMARK" => Event::Bookmark(crate::head::read(line.object.get())?.resource_version),
        _ => {
            let refusal: Refusal = serde_json::from_str(line.object.get()).unwrap_or_default();
            Event::Failed {
                code: refusal.code,
                message: refusal.message,
            }
        }
    })
}

/// Takes a line apart that has the usual form; `None` if it has another.
fn split(line: &[u8]) -> Option<Event<'_>> {
    let line = std::str::from_utf8(line).ok()?;
    let (rest, kind) = BEFORE
        .iter()
        .find_map(|(before, kind)| Some((line.strip_prefix(before)?, *kind)))?;
    let object = rest.trim_end().strip_suffix('}')?;
    Some(match kind {
        Kind::Stored => Event::Stored(object),
        Kind::Removed => Event::Removed(object),
    })
}
