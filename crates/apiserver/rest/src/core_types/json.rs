//! Small steps through JSON trees that the rules of the built-in types share.

use serde_json::{Map, Value};

/// Member `name` as an object to be changed; `None` if it is absent or something else.
pub(crate) fn object_mut<'a>(
    value: &'a mut Value,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    value.get_mut(name)?.as_object_mut()
}

/// The items of the list member `name`; nothing if it is absent.
pub(crate) fn items_mut<'a>(
    value: &'a mut Value,
    name: &str,
) -> impl Iterator<Item = &'a mut Value> {
    value
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// The items of the list member `name`; nothing if it is absent.
pub(crate) fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Sets member `name` where it is absent, `null` or, as for a Go zero value, an empty string.
pub(crate) fn fill(value: &mut Value, name: &str, default: impl Into<Value>) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    if is_unset(map.get(name)) {
        map.insert(name.to_owned(), default.into());
    }
}

/// Sets an integer where it is absent, `null` or zero.
pub(crate) fn fill_positive(value: &mut Value, name: &str, default: i64) {
    if value.get(name).and_then(Value::as_i64) == Some(0) {
        value[name] = default.into();
    }
    fill(value, name, default);
}

/// True for what Go would take for "not given".
pub(crate) fn is_unset(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

/// The text at a path of member names; empty if absent.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    path.iter()
        .try_fold(value, |value, step| value.get(step))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Applies `rule` to member `name` if that is an object.
pub(crate) fn within(value: &mut Value, name: &str, rule: impl FnOnce(&mut Value)) {
    if let Some(member) = value.get_mut(name).filter(|member| member.is_object()) {
        rule(member);
    }
}
