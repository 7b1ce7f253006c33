//! Reads JSON and YAML bodies into plain values and notes fields that occur twice.
//!
//! # Invariants
//!
//! - Of a field that occurs twice the last value is kept, and its path is noted once.
//! - JSON and YAML pass through the same visitor, so they treat duplicates alike.

#[cfg(test)]
mod tests;

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A body that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// Paths of fields that occurred more than once, in the order they were met.
    pub(crate) duplicates: Vec<String>,
}

/// A body that was not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("couldn't get version/kind; json parse error: {0}")]
    Json(#[from] serde_json::Error),
    #[error("error converting YAML to JSON: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
}

/// Reads one JSON document.
pub(crate) fn json(body: &[u8]) -> Result<Decoded, DecodeError> {
    let noted = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Node::root(&noted).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Decoded {
        value,
        duplicates: noted.into_inner(),
    })
}

/// Reads one YAML document; JSON is YAML, but slower.
pub(crate) fn yaml(body: &[u8]) -> Result<Decoded, DecodeError> {
    let noted = RefCell::default();
    let value = Node::root(&noted).deserialize(serde_yaml_ng::Deserializer::from_slice(body))?;
    Ok(Decoded {
        value,
        duplicates: noted.into_inner(),
    })
}

/// One value on the way in, with the path that leads to it.
#[derive(Clone, Copy)]
struct Node<'a> {
    parent: Option<&'a Node<'a>>,
    step: Step<'a>,
    noted: &'a RefCell<Vec<String>>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> Node<'a> {
    fn root(noted: &'a RefCell<Vec<String>>) -> Self {
        Self {
            parent: None,
            step: Step::Root,
            noted,
        }
    }

    fn child(&'a self, step: Step<'a>) -> Self {
        Self {
            parent: Some(self),
            step,
            noted: self.noted,
        }
    }

    fn path(&self) -> String {
        let mut path = self.parent.map(Node::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Field(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Index(index) => path = format!("{path}[{index}]"),
        }
        path
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.child(Step::Index(values.len())))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(MapKey(name)) = members.next_key()? {
            let child = self.child(Step::Field(&name));
            let value = members.next_value_seed(child)?;
            if map.contains_key(&name) {
                let path = child.path();
                let mut noted = self.noted.borrow_mut();
                if !noted.contains(&path) {
                    noted.push(path);
                }
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// A member name; YAML writes some of them as numbers or booleans.
struct MapKey(String);

impl<'de> serde::Deserialize<'de> for MapKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = MapKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }

            fn visit_str<E>(self, name: &str) -> Result<MapKey, E> {
                Ok(MapKey(name.to_owned()))
            }

            fn visit_bool<E>(self, name: bool) -> Result<MapKey, E> {
                Ok(MapKey(name.to_string()))
            }

            fn visit_i64<E>(self, name: i64) -> Result<MapKey, E> {
                Ok(MapKey(name.to_string()))
            }

            fn visit_u64<E>(self, name: u64) -> Result<MapKey, E> {
                Ok(MapKey(name.to_string()))
            }

            fn visit_f64<E>(self, name: f64) -> Result<MapKey, E> {
                Ok(MapKey(name.to_string()))
            }
        }

        deserializer.deserialize_any(KeyVisitor)
    }
}
