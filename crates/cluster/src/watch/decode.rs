//! Reads lists and watch lines without decoding the objects in them.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What is needed of every object, whatever else is wrong with it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    pub(super) metadata: HeadMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HeadMeta {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) uid: String,
    pub(super) resource_version: String,
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

/// One line of a watch.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// Added or modified.
    Stored(&'a RawValue),
    Removed(&'a RawValue),
    /// Nothing happened up to this version.
    Bookmark(String),
    Failed {
        code: u16,
        message: String,
    },
}

pub(super) fn event(line: &[u8]) -> Result<Event<'_>, serde_json::Error> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    Ok(match line.kind {
        "ADDED" | "MODIFIED" => Event::Stored(line.object),
        "DELETED" => Event::Removed(line.object),
        "BOOKMARK" => {
            let head: Head = serde_json::from_str(line.object.get())?;
            Event::Bookmark(head.metadata.resource_version)
        }
        _ => {
            let refusal: Refusal = serde_json::from_str(line.object.get()).unwrap_or_default();
            Event::Failed {
                code: refusal.code,
                message: refusal.message,
            }
        }
    })
}
