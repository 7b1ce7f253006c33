//! Sets of field paths, as `fieldsV1` writes them.
//!
//! A step of a path is the text `fieldsV1` has for it: `f:name` for a member, `k:{…}` for a list item
//! known by its keys, `v:…` for an item known by its value, `i:…` for one known by its place.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::shape::Shape;

/// A set of paths, as a tree.
///
/// No node is without both ownership and nodes below, so equal sets are equal trees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    /// Whether the path that ends here is in the set.
    owned: bool,
    below: FieldSet,
}

impl Node {
    fn is_void(&self) -> bool {
        !self.owned && self.below.is_empty()
    }
}

impl FieldSet {
    /// A set of member paths.
    pub(super) fn of_members(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let steps: Vec<String> = path.iter().map(|name| format!("f:{name}")).collect();
            set.insert(&steps);
        }
        set
    }

    /// Reads `fieldsV1`; what it does not understand is left out.
    pub(super) fn from_fields(fields: &Value) -> Self {
        let mut set = Self::default();
        for (step, below) in fields.as_object().into_iter().flatten() {
            if step == "." {
                continue;
            }
            let members = below.as_object();
            let owned =
                members.is_none_or(|members| members.is_empty() || members.contains_key("."));
            set.put(
                step,
                Node {
                    owned,
                    below: Self::from_fields(below),
                },
            );
        }
        set
    }

    /// Writes `fieldsV1`.
    pub(super) fn to_fields(&self) -> Value {
        let mut fields = Map::new();
        for (step, node) in &self.nodes {
            let mut below = node.below.to_fields();
            if node.owned && !node.below.is_empty() {
                below["."] = json!({});
            }
            fields.insert(step.clone(), below);
        }
        Value::Object(fields)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a path.
    pub(super) fn insert(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let node = self.nodes.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.owned = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// True if the one-step path is in the set.
    pub(super) fn owns(&self, step: &str) -> bool {
        self.nodes.get(step).is_some_and(|node| node.owned)
    }

    /// The set below a step; `None` if there is nothing.
    pub(super) fn below(&self, step: &str) -> Option<&Self> {
        self.nodes
            .get(step)
            .map(|node| &node.below)
            .filter(|below| !below.is_empty())
    }

    fn put(&mut self, step: &str, node: Node) {
        if !node.is_void() {
            self.nodes.insert(step.to_owned(), node);
        }
    }

    /// Paths in either set.
    pub(super) fn union(&self, other: &Self) -> Self {
        let mut set = self.clone();
        for (step, node) in &other.nodes {
            let mine = set.nodes.entry(step.clone()).or_default();
            mine.owned |= node.owned;
            mine.below = mine.below.union(&node.below);
        }
        set
    }

    /// Paths in both sets.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut set = Self::default();
        for (step, node) in &self.nodes {
            if let Some(theirs) = other.nodes.get(step) {
                let owned = node.owned && theirs.owned;
                set.put(
                    step,
                    Node {
                        owned,
                        below: node.below.intersection(&theirs.below),
                    },
                );
            }
        }
        set
    }

    /// Paths of this set that are not in the other.
    pub(super) fn difference(&self, other: &Self) -> Self {
        self.without(other, false)
    }

    /// Paths of this set that neither are in the other nor lie below one that is.
    pub(super) fn recursive_difference(&self, other: &Self) -> Self {
        self.without(other, true)
    }

    fn without(&self, other: &Self, recursive: bool) -> Self {
        let mut set = Self::default();
        for (step, node) in &self.nodes {
            let Some(theirs) = other.nodes.get(step) else {
                set.put(step, node.clone());
                continue;
            };
            if recursive && theirs.owned {
                continue;
            }
            let below = node.below.without(&theirs.below, recursive);
            set.put(
                step,
                Node {
                    owned: node.owned && !theirs.owned,
                    below,
                },
            );
        }
        set
    }

    /// The set with every declared member on the way to a path added.
    ///
    /// Declared members are not owned for themselves, but a removal must see them as removable.
    pub(super) fn with_declared(&self, shape: Shape<'_>) -> Self {
        let mut set = Self::default();
        for (step, node) in &self.nodes {
            let name = step.strip_prefix("f:");
            let (below_shape, declared) = match name {
                Some(name) => shape.member(name),
                None => (shape.item(), false),
            };
            let owned = node.owned || declared;
            set.put(
                step,
                Node {
                    owned,
                    below: node.below.with_declared(below_shape),
                },
            );
        }
        set
    }

    /// All paths, as messages write them: at each level those that end there come first.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        for (step, _) in self.nodes.iter().filter(|(_, node)| node.owned) {
            paths.push(format!("{prefix}{}", shown(step)));
        }
        for (step, node) in &self.nodes {
            node.below
                .collect_paths(&format!("{prefix}{}", shown(step)), paths);
        }
    }
}

/// A step as messages write it: `.name`, `[key="value"]`, `[="value"]`, `[0]`.
pub(super) fn shown(step: &str) -> String {
    match step.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("k:", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("[{}]", pairs.join(","))
        }
        Some(("v:", value)) => format!("[={value}]"),
        Some(("i:", index)) => format!("[{index}]"),
        _ => step.to_owned(),
    }
}
