//! JSON values as CEL sees them.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as Cel;
use cel::objects::{Key, Map};
use serde_json::Value;

use super::need::Need;
use crate::node::{ListType, Node};

/// Names that CEL reserves; a member of that name is written `__name__`.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Converts values and notes the size of the largest collection, by which loops are bounded.
pub(super) struct Converter {
    pub(super) largest: u64,
}

impl Converter {
    /// `value` as far as it is needed; the rest of a collection keeps its size but not its contents.
    pub(super) fn convert(&mut self, value: &Value, node: Option<&Node>, need: &Need) -> Cel {
        self.value(value, node, need, need.whole)
    }

    fn value(&mut self, value: &Value, node: Option<&Node>, need: &Need, whole: bool) -> Cel {
        match value {
            Value::Null => Cel::Null,
            Value::Bool(flag) => Cel::Bool(*flag),
            Value::Number(number) => self::number(number, node),
            Value::String(text) => Cel::String(Arc::new(text.clone())),
            Value::Array(items) => {
                self.largest = self.largest.max(items.len() as u64);
                let item_node = node
                    .and_then(|node| node.items.as_ref())
                    .map(|schema| schema.0.as_ref());
                let nothing = Need::default();
                let item_need = need.any.as_deref().unwrap_or(&nothing);
                let whole_item = whole || item_need.whole;
                let converted = items
                    .iter()
                    .map(|item| self.value(item, item_node, item_need, whole_item));
                Cel::List(Arc::new(converted.collect()))
            }
            Value::Object(map) => {
                self.largest = self.largest.max(map.len() as u64);
                let converted = map
                    .iter()
                    .map(|(name, member)| self.member(name, member, node, need, whole));
                Cel::Map(Map {
                    map: Arc::new(converted.collect::<HashMap<_, _>>()),
                })
            }
        }
    }

    fn member(
        &mut self,
        name: &str,
        member: &Value,
        node: Option<&Node>,
        need: &Need,
        whole: bool,
    ) -> (Key, Cel) {
        let declared = node.and_then(|node| node.properties.get(name));
        let schema = declared.or_else(|| node.and_then(|node| additional(node)));
        let key = match declared {
            Some(_) => escape(name),
            None => name.to_owned(),
        };
        let nothing = Need::default();
        let named = need.members.get(&key);
        let any = need.any.as_deref();
        let whole =
            whole || named.is_some_and(|need| need.whole) || any.is_some_and(|need| need.whole);
        let below = node_of(schema);
        let converted = match (named, any) {
            // Two needs of one member are not merged: all of it is converted.
            (Some(_), Some(_)) => self.value(member, below, &nothing, true),
            (Some(need), None) | (None, Some(need)) => self.value(member, below, need, whole),
            (None, None) => self.value_or_shape(member, below, whole),
        };
        (Key::String(Arc::new(key)), converted)
    }

    /// A member that is not needed is there all the same, for `has` and for the size of its parent.
    fn value_or_shape(&mut self, member: &Value, node: Option<&Node>, whole: bool) -> Cel {
        match member {
            Value::Array(_) | Value::Object(_) if !whole => Cel::Null,
            _ => self.value(member, node, &Need::default(), whole),
        }
    }
}

fn additional(node: &Node) -> Option<&crate::node::Schema> {
    match &node.additional {
        crate::node::Additional::Of(schema) => Some(schema),
        _ => None,
    }
}

fn node_of(schema: Option<&crate::node::Schema>) -> Option<&Node> {
    schema.map(|schema| schema.0.as_ref())
}

fn number(number: &serde_json::Number, node: Option<&Node>) -> Cel {
    let float = node.is_some_and(|node| node.kind == Some(crate::node::Kind::Number));
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) if !float => Cel::Int(integer),
        (_, Some(value)) => {
            let whole_integer = !float && value.fract() == 0.0 && value.abs() < 9.2e18;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the value is whole and in range"
            )]
            if whole_integer {
                Cel::Int(value as i64)
            } else {
                Cel::Float(value)
            }
        }
        (Some(integer), None) => Cel::Int(integer),
        (None, None) => Cel::Null,
    }
}

/// A member's name as rules write it: characters that names cannot have, and reserved words, are spelled out.
pub(super) fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let plain = !name.contains(['.', '-', '/', '$']) && !name.contains("__");
    if plain {
        return name.to_owned();
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

/// `old` with its items in the order of `new`, where order has no meaning, so that equal sets and maps compare equal.
pub(super) fn aligned(node: &Node, new: &Value, old: &Value) -> Option<Value> {
    let (Value::Array(new), Value::Array(old)) = (new, old) else {
        return None;
    };
    if !matches!(node.list_type, Some(ListType::Set | ListType::Map)) || new.len() != old.len() {
        return None;
    }
    let same = |a: &Value, b: &Value| match node.list_type {
        Some(ListType::Map) => node
            .list_map_keys
            .iter()
            .all(|key| a.get(key.as_ref()) == b.get(key.as_ref())),
        _ => a == b,
    };
    let mut rest: Vec<&Value> = old.iter().collect();
    let mut ordered = Vec::with_capacity(old.len());
    for item in new {
        let position = rest.iter().position(|candidate| same(item, candidate))?;
        ordered.push(rest.remove(position).clone());
    }
    Some(Value::Array(ordered))
}
