//! Compares an answer with what a case expects of it.
//!
//! An expected object holds if each listed field holds; an expected list must have the same length. A map whose
//! only key begins with `$` is a rule: `$absent`, `$present`, `$matches` (a regular expression), `$size`, `$has`
//! (each listed item is somewhere in the list), `$lacks`, `$not`, `$exactly`, `$above` (a number as text).

use regex::Regex;
use serde_json::{Map, Value};

/// Lists every difference between `actual` and `expected`, each with its path; none means it matches.
pub fn differences(expected: &Value, actual: Option<&Value>) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, actual, &mut found);
    found
}

fn compare(at: &str, expected: &Value, actual: Option<&Value>, found: &mut Vec<String>) {
    if let Some((rule, argument)) = rule(expected) {
        apply(at, rule, argument, actual, found);
        return;
    }
    match (expected, actual) {
        (Value::Object(fields), Some(Value::Object(present))) => {
            for (key, value) in fields {
                compare(&format!("{at}/{key}"), value, present.get(key), found);
            }
        }
        (Value::Array(wanted), Some(Value::Array(present))) if wanted.len() == present.len() => {
            for (position, (wanted, present)) in wanted.iter().zip(present).enumerate() {
                compare(&format!("{at}/{position}"), wanted, Some(present), found);
            }
        }
        (_, Some(actual)) if same(expected, actual) => {}
        _ => found.push(format!("{at}: expected {expected}, got {}", shown(actual))),
    }
}

/// `1` and `1.0` are one number.
fn same(expected: &Value, actual: &Value) -> bool {
    let numbers = expected.as_f64().zip(actual.as_f64());
    expected == actual || numbers.is_some_and(|(a, b)| (a - b).abs() < f64::EPSILON)
}

fn rule(expected: &Value) -> Option<(&str, &Value)> {
    let fields: &Map<String, Value> = expected.as_object()?;
    let (key, argument) = fields.iter().next()?;
    (fields.len() == 1 && key.starts_with('$')).then_some((key, argument))
}

fn apply(at: &str, rule: &str, argument: &Value, actual: Option<&Value>, found: &mut Vec<String>) {
    let items = || {
        actual
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let holds = match rule {
        "$absent" => actual.is_none(),
        "$present" => actual.is_some_and(|value| !value.is_null()),
        "$exactly" => actual == Some(argument),
        "$not" => !differences(argument, actual).is_empty(),
        "$size" => actual.and_then(size).map(Value::from).as_ref() == Some(argument),
        "$above" => number(actual) > number(Some(argument)),
        "$matches" => matches(argument, actual),
        "$has" => wanted(argument).iter().all(|item| has(items(), item)),
        "$lacks" => !wanted(argument).iter().any(|item| has(items(), item)),
        _ => {
            found.push(format!("{at}: the case uses the unknown rule {rule}"));
            return;
        }
    };
    if !holds {
        found.push(format!(
            "{at}: expected {rule} {argument}, got {}",
            shown(actual)
        ));
    }
}

fn wanted(argument: &Value) -> &[Value] {
    argument.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn has(items: &[Value], wanted: &Value) -> bool {
    items
        .iter()
        .any(|item| differences(wanted, Some(item)).is_empty())
}

fn size(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) => Some(items.len()),
        Value::Object(fields) => Some(fields.len()),
        _ => None,
    }
}

fn number(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn matches(pattern: &Value, actual: Option<&Value>) -> bool {
    let (Some(pattern), Some(text)) = (pattern.as_str(), actual.and_then(Value::as_str)) else {
        return false;
    };
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

fn shown(actual: Option<&Value>) -> String {
    let text = actual.map_or_else(|| "nothing".to_owned(), Value::to_string);
    match text.char_indices().nth(600) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
