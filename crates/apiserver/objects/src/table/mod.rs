//! Objects as rows of a `Table`, which is what `kubectl get` prints.

use jiff::Timestamp;
use serde_json::Value;

use crate::object::Object;
use crate::resource::GroupResource;

/// The columns of a resource.
#[derive(Debug, Clone)]
pub struct Columns {}

impl Columns {
    /// Columns of a built-in resource; those without any of their own show name and age.
    pub fn builtin(resource: &GroupResource) -> Self {
        let _ = resource;
        Self {}
    }

    /// Columns from a CRD version's `additionalPrinterColumns`.
    pub fn custom(additional: &[Value]) -> Self {
        let _ = additional;
        Self {}
    }

    /// `columnDefinitions` of the table.
    pub fn definitions(&self) -> Value {
        Value::Null
    }

    /// The cells of one object's row.
    pub fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let _ = (object, now);
        Vec::new()
    }
}
