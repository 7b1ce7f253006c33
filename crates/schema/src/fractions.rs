//! Finds integers that are written with a fraction, such as `2.0`. Custom resources may have them, but Go cannot read
//! them into the fields of a built-in type.

use serde_json::{Number, Value};

use crate::format::Format;
use crate::node::{Additional, Kind, Node, Schema};
use crate::path::{FieldPath, Trail};

/// An integer that is written with a fraction.
#[derive(Debug, Clone, PartialEq)]
pub struct FractionalInteger {
    /// Where it stands.
    pub path: FieldPath,
    /// As it is written.
    pub number: Number,
    /// The Go type of the field, such as `int32`.
    pub go_type: &'static str,
}

impl Schema {
    /// The first integer that is written with a fraction, in the order of member names.
    pub fn fractional_integer(&self, value: &Value) -> Option<FractionalInteger> {
        find(&self.0, value, &Trail::ROOT)
    }
}

fn find(node: &Node, value: &Value, trail: &Trail<'_>) -> Option<FractionalInteger> {
    match value {
        Value::Number(number) if number.is_f64() => {
            let is_integer = node.int_or_string || node.kind == Some(Kind::Integer);
            is_integer.then(|| FractionalInteger {
                path: trail.path(),
                number: number.clone(),
                go_type: if node.int_or_string || node.format == Some(Format::Int32) {
                    "int32"
                } else {
                    "int64"
                },
            })
        }
        Value::Object(map) => map.iter().find_map(|(name, member)| {
            match (node.properties.get(name.as_str()), &node.additional) {
                (Some(schema), _) => find(&schema.0, member, &trail.field(name)),
                (None, Additional::Of(schema)) => find(&schema.0, member, &trail.key(name)),
                _ => None,
            }
        }),
        Value::Array(items) => {
            let schema = node.items.as_ref()?;
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| find(&schema.0, item, &trail.index(index)))
        }
        _ => None,
    }
}
