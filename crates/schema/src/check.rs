//! The API server's checks of a write, one after the other.

use serde_json::Value;

use crate::cel::DEFAULT_COST_BUDGET;
use crate::fault::Fault;
use crate::go;
use crate::node::Schema;
use crate::path::FieldPath;

const RULES_SKIPPED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// Where the scale subresource of a resource finds its values, as paths such as `.spec.replicas`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scale<'a> {
    /// Paths of replica counts.
    pub counts: &'a [&'a str],
    /// Path of the label selector in its text form.
    pub selector: Option<&'a str>,
}

impl<'a> From<&'a [&'a str]> for Scale<'a> {
    fn from(counts: &'a [&'a str]) -> Self {
        Self {
            counts,
            selector: None,
        }
    }
}

impl Schema {
    /// Everything the API server holds against a pruned and defaulted object: types and constraints, repeated items of
    /// unique lists, then the rules unless the former make them pointless. With `old`, as an update.
    pub fn check(&self, value: &Value, old: Option<&Value>) -> Vec<Fault> {
        let faults = self.validate(value, old);
        self.check_after(value, old, faults)
    }

    /// As [`Schema::check`], for a resource with a scale subresource.
    pub fn check_with_scale<'a>(
        &self,
        value: &Value,
        old: Option<&Value>,
        scale: impl Into<Scale<'a>>,
    ) -> Vec<Fault> {
        let Scale { counts, selector } = scale.into();
        let mut faults = self.validate(value, old);
        faults.extend(counts.iter().filter_map(|path| count_fault(value, path)));
        faults.extend(selector.and_then(|path| selector_fault(value, path)));
        self.check_after(value, old, faults)
    }

    fn check_after(
        &self,
        value: &Value,
        old: Option<&Value>,
        mut faults: Vec<Fault>,
    ) -> Vec<Fault> {
        // Lists that had repeated items before may keep them.
        if old.is_none_or(|old| self.validate_unique(old).is_empty()) {
            faults.extend(self.validate_unique(value));
        }
        if !self.0.below.rules {
            return faults;
        }
        if faults.iter().any(Fault::blocks_rules) {
            faults.push(Fault::invalid(
                FieldPath::root(),
                Value::Null,
                RULES_SKIPPED,
            ));
        } else {
            faults.extend(self.validate_rules(value, old, DEFAULT_COST_BUDGET));
        }
        faults
    }
}

fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    value.pointer(&path.replace('.', "/"))
}

/// A replica count must be a non-negative integer of 32 bits. The path keeps its leading dot, as in the API server.
fn count_fault(value: &Value, path: &str) -> Option<Fault> {
    let found = at(value, path)?;
    let (shown, detail) = match found.as_i64() {
        None => (Value::from(0), accessor_error(found, path, "int64")),
        Some(count) if count < 0 => (found.clone(), "should be a non-negative integer".to_owned()),
        Some(count) if count > i64::from(i32::MAX) => (
            found.clone(),
            format!("should be less than or equal to {}", i32::MAX),
        ),
        Some(_) => return None,
    };
    Some(Fault::invalid(FieldPath::new(path), shown, detail))
}

/// A label selector must be a text.
fn selector_fault(value: &Value, path: &str) -> Option<Fault> {
    let found = at(value, path).filter(|found| !found.is_string())?;
    let detail = accessor_error(found, path, "string");
    Some(Fault::invalid(FieldPath::new(path), "", detail))
}

fn accessor_error(found: &Value, path: &str, expected: &str) -> String {
    let (text, kind) = match found {
        Value::String(text) => (text.clone(), "string"),
        Value::Number(number) if number.is_f64() => (
            number.as_f64().map_or_else(String::new, go::float),
            "float64",
        ),
        Value::Number(number) => (number.to_string(), "int64"),
        Value::Bool(flag) => (flag.to_string(), "bool"),
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Array(_) => (go::json(found), "[]interface {}"),
        Value::Object(_) => (go::json(found), "map[string]interface {}"),
    };
    format!("{path} accessor error: {text} is of the type {kind}, expected {expected}")
}
