//! A value of the file together with its path, and what was found wrong so far.

use serde_yaml_ng::Value;

use super::Notice;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'v> {
    value: &'v Value,
    path: String,
}

/// What is to be said about the file.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Notice>,
    pub(super) notices: Vec<Notice>,
}

impl Findings {
    /// Something is wrong with `node`.
    pub(super) fn fault(&mut self, node: &Node<'_>, message: impl Into<String>) {
        self.faults.push(node.say(message));
    }

    /// Something about `node` has no effect.
    pub(super) fn notice(&mut self, node: &Node<'_>, message: impl Into<String>) {
        self.notices.push(node.say(message));
    }

    /// Nobody knows the key of `node`.
    pub(super) fn unknown(&mut self, node: &Node<'_>) {
        self.notice(node, "unknown key, ignored");
    }
}

impl<'v> Node<'v> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self {
            value,
            path: String::new(),
        }
    }

    pub(super) fn value(&self) -> &'v Value {
        self.value
    }

    pub(super) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// The member of this name, which is not there.
    pub(super) fn absent(&self, key: &str) -> Node<'v> {
        const NOTHING: &Value = &Value::Null;
        self.child(NOTHING, key)
    }

    /// Members of a mapping in order; `None` for null. Anything else is a fault.
    pub(super) fn members(&self, found: &mut Findings) -> Option<Vec<(String, Node<'v>)>> {
        if self.is_null() {
            return None;
        }
        let Some(mapping) = self.value.as_mapping() else {
            found.fault(self, format!("must be a mapping, not {}", self.kind()));
            return None;
        };
        let members = mapping.iter().filter_map(|(key, value)| {
            let key = scalar(key)?;
            let child = self.child(value, &key);
            Some((key, child))
        });
        Some(members.collect())
    }

    /// Elements of a list; none for null. Anything else is a fault.
    pub(super) fn elements(&self, found: &mut Findings) -> Vec<Node<'v>> {
        if self.is_null() {
            return Vec::new();
        }
        let Some(list) = self.value.as_sequence() else {
            found.fault(self, format!("must be a list, not {}", self.kind()));
            return Vec::new();
        };
        let element = |(at, value): (usize, &'v Value)| Node {
            value,
            path: format!("{}[{at}]", self.path),
        };
        list.iter().enumerate().map(element).collect()
    }

    /// The text of a scalar; `None` for null, mappings and lists.
    pub(super) fn scalar(&self) -> Option<String> {
        scalar(self.value)
    }

    /// What the value is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Tagged(_) => "a tagged value",
        }
    }

    fn child<'n>(&self, value: &'n Value, key: &str) -> Node<'n> {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Node { value, path }
    }

    fn say(&self, message: impl Into<String>) -> Notice {
        let path = if self.path.is_empty() {
            "file".to_owned()
        } else {
            self.path.clone()
        };
        Notice {
            path,
            message: message.into(),
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
