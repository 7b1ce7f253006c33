//! Which part of the old object a part of the new one has come from.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::node::{ListType, MapType, Node};

/// The old value of member `name`.
pub(crate) fn member<'v>(old: Option<&'v Value>, name: &str) -> Option<&'v Value> {
    old?.as_object()?.get(name)
}

/// The same as far as rules may look at it: members of an atomic object have no past of their own.
pub(crate) fn visible_member<'v>(
    node: &Node,
    old: Option<&'v Value>,
    name: &str,
) -> Option<&'v Value> {
    member(old, name).filter(|_| node.map_type == MapType::Granular)
}

/// The old items of a list, found by their keys; only lists of type map can be compared item by item.
pub(crate) struct OldItems<'v>(BTreeMap<String, &'v Value>);

impl<'v> OldItems<'v> {
    pub(crate) fn new(node: &Node, old: Option<&'v Value>) -> Self {
        let items = old
            .and_then(Value::as_array)
            .filter(|_| node.list_type == Some(ListType::Map));
        Self(
            items
                .into_iter()
                .flatten()
                .map(|item| (identity(node, item), item))
                .collect(),
        )
    }

    pub(crate) fn find(&self, node: &Node, item: &Value) -> Option<&'v Value> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&identity(node, item)).copied()
    }
}

/// The keys of an item as one text.
fn identity(node: &Node, item: &Value) -> String {
    let mut text = String::new();
    for key in &node.list_map_keys {
        text.push_str(&item.get(key.as_ref()).unwrap_or(&Value::Null).to_string());
        text.push('\0');
    }
    text
}
