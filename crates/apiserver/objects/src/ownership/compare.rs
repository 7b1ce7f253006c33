//! Which fields a value has, and which differ between two values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::set::{FieldSet, shown};
use super::shape::{ListShape, Shape};

/// The fields that an applied configuration sets.
pub(super) fn fields_of(shape: Shape<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(shape, value, &mut Vec::new(), &mut set);
    set
}

fn collect(shape: Shape<'_>, value: &Value, path: &mut Vec<String>, set: &mut FieldSet) {
    match value {
        Value::Object(members) if !shape.is_whole_map() => {
            for (name, member) in members {
                let (below, declared) = shape.member(name);
                path.push(format!("f:{name}"));
                collect(below, member, path, set);
                let bare = member.is_null() || member.as_object().is_some_and(Map::is_empty);
                if bare || !declared {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            let list = shape.list();
            if list == ListShape::Whole {
                set.insert(path);
                return;
            }
            for item in items {
                let Some(step) = shape.item_step(&list, item) else {
                    continue;
                };
                path.push(step);
                collect(shape.item(), item, path, set);
                set.insert(path);
                path.pop();
            }
        }
        _ => set.insert(path),
    }
}

/// What keeps `value` from being taken for an object of its type, each as path and reason.
pub(super) fn type_faults(shape: Shape<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    search_faults(shape, value, "", &mut found);
    found
}

fn search_faults(shape: Shape<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                if shape.lacks(name) {
                    found.push(format!("{path}: field not declared in schema"));
                } else {
                    search_faults(shape.member(name).0, member, &path, found);
                }
            }
        }
        Value::Array(items) => {
            let list = shape.list();
            let mut seen = BTreeSet::new();
            for (at, item) in items.iter().enumerate() {
                let step = shape.item_step(&list, item);
                let place = step.as_deref().map_or_else(|| format!("[{at}]"), shown);
                if step.is_some_and(|step| !seen.insert(step)) {
                    found.push(format!("{path}: duplicate entries for key {place}"));
                }
                search_faults(shape.item(), item, &format!("{path}{place}"), found);
            }
        }
        _ => {}
    }
}

/// Fields that differ between two values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Only in the second.
    pub(super) added: FieldSet,
    /// In both with different values.
    pub(super) modified: FieldSet,
    /// Only in the first.
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// How `new` differs from `old`.
    pub(super) fn of(shape: Shape<'_>, old: &Value, new: &Value) -> Self {
        let mut comparison = Self::default();
        comparison.visit(shape, Some(old), Some(new), &mut Vec::new());
        comparison
    }

    /// Leaves out the fields in `ignored` and all below them.
    pub(super) fn without(&self, ignored: &FieldSet) -> Self {
        Self {
            added: self.added.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
            removed: self.removed.recursive_difference(ignored),
        }
    }

    /// Fields that are new or different.
    pub(super) fn touched(&self) -> FieldSet {
        self.modified.union(&self.added)
    }

    fn visit(
        &mut self,
        shape: Shape<'_>,
        old: Option<&Value>,
        new: Option<&Value>,
        path: &mut Vec<String>,
    ) {
        // Most of an object does not change; what is equal has no differences below it.
        if old == new {
            return;
        }
        let is_map = |value: Option<&Value>| value.is_none_or(Value::is_object);
        let is_list = |value: Option<&Value>| value.is_none_or(Value::is_array);
        let filled = |value: Option<&Value>| match value {
            Some(Value::Object(members)) => !members.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            _ => false,
        };
        if !filled(old) && !filled(new) {
            self.leaf(old, new, path);
        } else if is_map(old) && is_map(new) && !shape.is_whole_map() {
            self.visit_members(
                shape,
                old.and_then(Value::as_object),
                new.and_then(Value::as_object),
                path,
            );
            self.branch(old, new, path);
        } else if is_list(old) && is_list(new) && shape.list() != ListShape::Whole {
            self.visit_items(shape, old, new, path);
            self.branch(old, new, path);
        } else {
            self.leaf(old, new, path);
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>, path: &[String]) {
        match (old, new) {
            (None, Some(_)) => self.added.insert(path),
            (Some(_), None) => self.removed.insert(path),
            (Some(old), Some(new)) if old != new => self.modified.insert(path),
            _ => {}
        }
    }

    /// A place with fields below it counts as a field of its own when it comes or goes.
    fn branch(&mut self, old: Option<&Value>, new: Option<&Value>, path: &[String]) {
        match (old, new) {
            (None, Some(_)) => self.added.insert(path),
            (Some(_), None) => self.removed.insert(path),
            _ => {}
        }
    }

    fn visit_members(
        &mut self,
        shape: Shape<'_>,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
        path: &mut Vec<String>,
    ) {
        let mut names: Vec<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (before, after) = (
                old.and_then(|old| old.get(name)),
                new.and_then(|new| new.get(name)),
            );
            // A member that the type always has is not new or gone because it was left empty.
            let implied = |holder: Option<_>, other: Option<&Value>| {
                holder
                    .filter(|_: &&Map<String, Value>| shape.always_has(name))
                    .and_then(|_| match other? {
                        Value::Object(_) => Some(Value::Object(Map::new())),
                        Value::Array(_) => Some(Value::Array(Vec::new())),
                        _ => None,
                    })
            };
            let (implied_before, implied_after) = (implied(old, after), implied(new, before));
            path.push(format!("f:{name}"));
            let (before, after) = (
                before.or(implied_before.as_ref()),
                after.or(implied_after.as_ref()),
            );
            self.visit(shape.member(name).0, before, after, path);
            path.pop();
        }
    }

    fn visit_items(
        &mut self,
        shape: Shape<'_>,
        old: Option<&Value>,
        new: Option<&Value>,
        path: &mut Vec<String>,
    ) {
        let list = shape.list();
        let items = |value: Option<&Value>| {
            let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for item in value.and_then(Value::as_array).into_iter().flatten() {
                if let Some(step) = shape.item_step(&list, item) {
                    found.entry(step).or_default().push(item.clone());
                }
            }
            found
        };
        let (old, new) = (items(old), items(new));
        let mut steps: Vec<&String> = old.keys().chain(new.keys()).collect();
        steps.sort_unstable();
        steps.dedup();
        for step in steps {
            let (before, after) = (old.get(step), new.get(step));
            path.push(step.clone());
            match (before.map(Vec::as_slice), after.map(Vec::as_slice)) {
                (Some([_, _, ..]), _) | (_, Some([_, _, ..])) => {
                    // Items that cannot be told apart are compared together.
                    let whole =
                        |items: Option<&Vec<Value>>| items.map(|items| Value::Array(items.clone()));
                    self.leaf(whole(before).as_ref(), whole(after).as_ref(), path);
                }
                (before, after) => {
                    let (before, after) = (
                        before.and_then(<[Value]>::first),
                        after.and_then(<[Value]>::first),
                    );
                    self.visit(shape.item(), before, after, path);
                }
            }
            path.pop();
        }
    }
}
