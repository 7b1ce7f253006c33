//! What an answer looks like: the object, a table, or metadata alone, in the version that was asked for.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Response, StatusCode};
use jiff::Timestamp;
use kthena_apiserver_objects::{ApiError, ListPage, Object, table::Columns};
use serde_json::{Map, Value, json, value::RawValue};

use super::Call;
use crate::{
    accept::{Accepted, Shape},
    answer::{self, Answer, Body},
    catalog::ResourceType,
    views,
};

/// How much of an object stands beside its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Included {
    Nothing,
    Metadata,
    Whole,
}

/// Turns stored objects into what one request wants to see.
#[derive(Debug, Clone)]
pub(crate) struct Presenter {
    kind: std::sync::Arc<ResourceType>,
    accepted: Accepted,
    columns: Option<Columns>,
    included: Included,
}

impl Presenter {
    pub(crate) fn new(call: &Call) -> Result<Self, ApiError> {
        let included = match call.query.text("includeObject") {
            None | Some("Metadata") => Included::Metadata,
            Some("None") => Included::Nothing,
            Some("Object") => Included::Whole,
            Some(other) => {
                let message = format!("unrecognized includeObject value: {other:?}");
                return Err(ApiError::bad_request(message));
            }
        };
        let columns = (call.accepted.shape == Shape::Table).then(|| match call.kind.custom() {
            Some(custom) => Columns::custom(&custom.columns),
            None => Columns::builtin(call.kind.group_resource()),
        });
        Ok(Self {
            kind: std::sync::Arc::clone(&call.kind),
            accepted: call.accepted,
            columns,
            included,
        })
    }

    /// The answer for one object.
    pub(crate) fn answer(&self, code: StatusCode, object: &Object, now: Timestamp) -> Answer {
        answer::encoded(code, self.accepted.encoding, self.object(object, now))
    }

    /// One object in the wanted shape; a table has one row.
    pub(crate) fn object(&self, object: &Object, now: Timestamp) -> Bytes {
        match self.accepted.shape {
            Shape::Object | Shape::Discovery(_) => self.whole(object),
            Shape::PartialObject | Shape::PartialObjectList => partial(object).to_string().into(),
            Shape::Table => {
                let metadata = json!({ "resourceVersion": object.version().to_string() });
                self.table(std::iter::once(object), &metadata, now)
                    .to_string()
                    .into()
            }
        }
    }

    /// The answer for a list.
    pub(crate) fn list(&self, page: &ListPage, now: Timestamp) -> Answer {
        let metadata = list_metadata(page);
        let body = match self.accepted.shape {
            Shape::Object | Shape::Discovery(_) => self.object_list(page, &metadata),
            Shape::PartialObject | Shape::PartialObjectList => {
                let items: Vec<Value> = page.items.iter().map(|object| partial(object)).collect();
                let list = json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata,
                    "items": items,
                });
                list.to_string().into()
            }
            Shape::Table => {
                let objects = page.items.iter().map(AsRef::as_ref);
                self.table(objects, &metadata, now).to_string().into()
            }
        };
        answer::encoded(StatusCode::OK, self.accepted.encoding, body)
    }

    /// A list of whole objects, put together from their bytes.
    fn object_list(&self, page: &ListPage, metadata: &Value) -> Bytes {
        let items: Vec<Bytes> = page.items.iter().map(|object| self.item(object)).collect();
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
            self.kind.list_kind,
            self.kind.api_version(),
        );
        let length: usize = items.iter().map(|item| item.len() + 1).sum();
        let mut body = BytesMut::with_capacity(head.len() + length + 2);
        body.put_slice(head.as_bytes());
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                body.put_u8(b',');
            }
            body.put_slice(item);
        }
        body.put_slice(b"]}");
        body.freeze()
    }

    /// The object as a list shows it: items of built-in types leave their kind to the list.
    fn item(&self, object: &Object) -> Bytes {
        let whole = self.whole(object);
        if !self.kind.is_builtin() {
            return whole;
        }
        match serde_json::from_slice::<BTreeMap<&str, &RawValue>>(&whole) {
            Ok(mut members) => {
                members.remove("apiVersion");
                members.remove("kind");
                serde_json::to_vec(&members).map_or(whole.clone(), Bytes::from)
            }
            Err(_) => whole,
        }
    }

    /// The object in the version that was asked for.
    fn whole(&self, object: &Object) -> Bytes {
        if views::is_direct(&self.kind) {
            return object.bytes().clone();
        }
        views::shown(&self.kind, object.value()).to_string().into()
    }

    fn table<'a>(
        &self,
        objects: impl Iterator<Item = &'a Object>,
        metadata: &Value,
        now: Timestamp,
    ) -> Value {
        let rows: Vec<Value> = objects.map(|object| self.row(object, now)).collect();
        let definitions = self.columns.as_ref().map(Columns::definitions);
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": definitions,
            "rows": rows,
        })
    }

    fn row(&self, object: &Object, now: Timestamp) -> Value {
        let cells = self
            .columns
            .as_ref()
            .map(|columns| columns.cells(object, now));
        let shown = match self.included {
            Included::Nothing => Value::Null,
            Included::Metadata => partial(object),
            Included::Whole => views::shown(&self.kind, object.value()),
        };
        let mut row = Map::new();
        row.insert("cells".into(), cells.unwrap_or_default().into());
        if !shown.is_null() {
            row.insert("object".into(), shown);
        }
        Value::Object(row)
    }

    /// Drops what a watch of tables sends only once.
    pub(crate) fn forget_definitions(&mut self, table: Bytes) -> Bytes {
        if self.accepted.shape != Shape::Table {
            return table;
        }
        let Ok(Value::Object(mut table)) = serde_json::from_slice(&table) else {
            return table;
        };
        table.insert("columnDefinitions".into(), Value::Null);
        Value::Object(table).to_string().into()
    }

    /// Kind and version that bookmarks carry.
    pub(crate) fn bookmark_type(&self) -> (String, String) {
        match self.accepted.shape {
            Shape::Object | Shape::Discovery(_) => {
                (self.kind.api_version(), self.kind.kind.clone())
            }
            Shape::Table => ("meta.k8s.io/v1".into(), "Table".into()),
            Shape::PartialObject | Shape::PartialObjectList => {
                ("meta.k8s.io/v1".into(), "PartialObjectMetadata".into())
            }
        }
    }
}

fn partial(object: &Object) -> Value {
    let metadata = object.value().get("metadata").cloned();
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata })
}

fn list_metadata(page: &ListPage) -> Value {
    let mut metadata = json!({ "resourceVersion": page.version.to_string() });
    if let Some(token) = &page.continue_token {
        metadata["continue"] = token.as_str().into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

/// An answer for an object, with the warnings that came up on the way.
pub(crate) fn with_warnings(answer: Answer, warnings: &[String]) -> Answer {
    let mut response: Response<Body> = answer?;
    answer::warn(&mut response, warnings);
    Ok(response)
}
