//! The order of a merged list: as the patch asks, with the items it does not name where they were.

use serde_json::Value;

/// Arranges `merged`. Items named in `wanted` come in its order; the others keep the order of
/// `original` and stand before a wanted item only if they did so there.
pub(super) fn arranged(
    merged: Vec<Value>,
    wanted: &[Value],
    original: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let index =
        |list: &[Value], item: &Value| list.iter().position(|other| is_same(other, item, key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| index(wanted, item).is_some());
    named.sort_by_key(|item| index(wanted, item));
    others.sort_by_key(|item| index(original, item).unwrap_or(usize::MAX));

    let mut result = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    loop {
        let takes_other = match (others.peek(), named.peek()) {
            (None, None) => return result,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(item)) => match (index(original, other), index(original, item)) {
                (Some(left), Some(right)) => left < right,
                _ => false,
            },
        };
        result.extend(if takes_other {
            others.next()
        } else {
            named.next()
        });
    }
}

fn is_same(left: &Value, right: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) => left.get(key).is_some() && left.get(key) == right.get(key),
        None => left == right,
    }
}

/// A value as Go prints it in the API server's error about a missing merge key.
pub(super) fn go_map(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let pairs: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_map(value)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_map).collect();
            format!("[{}]", items.join(" "))
        }
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}
