//! Everything that can be held against a manifest without a server.

use kthena_schema::{Fault, FaultKind, FieldPath};
use serde_json::Value;

use crate::admission::Rules;
use crate::crd;

#[cfg(test)]
mod tests;

/// An object as a server would store it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Without unknown fields, with all defaults.
    pub object: Value,
    /// The fields that were not known.
    pub unknown: Vec<FieldPath>,
}

/// Does what a server does with a write before it judges it: unknown fields go, defaults of the CRD and of the
/// mutating webhook come. An unknown kind stays as it is.
pub fn settle(kind: &str, object: &Value) -> Settled {
    let mut object = object.clone();
    kthena_schema::go::settle_numbers(&mut object);
    let Some(schema) = crd::schema(kind) else {
        return Settled {
            object,
            unknown: Vec::new(),
        };
    };
    let unknown = schema.prune(&mut object);
    schema.fill_defaults(&mut object);
    let rules = Rules::ALL.into_iter().find(|rules| rules.kind() == kind);
    for operation in rules.map_or_else(Vec::new, |rules| rules.mutate(&object)) {
        apply_add(&mut object, &operation);
    }
    schema.fill_defaults(&mut object);
    Settled { object, unknown }
}

/// All faults of an object of one of the six kinds: of the schema, of its rules and of admission.
///
/// A server would stop at the first stage that finds something; here all stages run, so that a user sees everything at
/// once. What an earlier stage said about a field is not said again.
pub fn check(kind: &str, object: &Value, old: Option<&Value>) -> Vec<Fault> {
    let Some(schema) = crd::schema(kind) else {
        return Vec::new();
    };
    let settled = settle(kind, object).object;
    let mut faults = schema.check_with_scale(&settled, old, crd::scale_paths(kind));
    // That rules could not run is no news beside the faults that kept them from it.
    faults.retain(|fault| !(fault.path.is_root() && fault.value == Some(Value::Null)));
    let known: Vec<String> = faults
        .iter()
        .map(|fault| fault.path.as_str().trim_start_matches('.').to_owned())
        .collect();
    let rules = Rules::ALL.into_iter().find(|rules| rules.kind() == kind);
    let denied = rules.map_or_else(Vec::new, |rules| rules.validate(&settled, old));
    faults.extend(denied.into_iter().filter(|fault| {
        let said = known.iter().any(|path| path == fault.path.as_str());
        // Admission repeats wrong types; other faults of a field are worth a line of their own.
        !(said
            && matches!(
                fault.kind,
                FaultKind::TypeInvalid | FaultKind::Required | FaultKind::Invalid
            ))
    }));
    faults
}

/// The only operation that our patches use; the parent exists or is the spec itself.
fn apply_add(object: &mut Value, operation: &Value) {
    let (Some(path), Some(value)) = (operation["path"].as_str(), operation.get("value")) else {
        return;
    };
    let Some((parent, name)) = path.rsplit_once('/') else {
        return;
    };
    if let Some(Value::Object(map)) = object.pointer_mut(parent) {
        map.insert(name.to_owned(), value.clone());
    }
}
