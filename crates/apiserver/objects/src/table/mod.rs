//! Objects as rows of a `Table`, which is what `kubectl get` prints.
//!
//! Columns come from a CRD's `additionalPrinterColumns` or, for built-in kinds, from this module. Every
//! row has a cell for every column; the reader hides those of priority 1 unless asked for more.
//!
//! # Where to go next
//!
//! `pods` has the one elaborate kind, `kinds` the others; `jsonpath` reads the columns of CRDs.

mod age;
mod jsonpath;
mod kinds;
mod pods;
mod read;
mod services;
#[cfg(test)]
mod tests;
mod workloads;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use age::{age_since, human_duration};

use crate::object::Object;
use crate::resource::GroupResource;
use jsonpath::JsonPath;

/// The columns of a resource.
#[derive(Debug, Clone)]
pub struct Columns {
    cells: Cells,
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
enum Cells {
    /// A function knows the kind.
    Builtin(CellsOf),
    /// A path for each column after the name.
    Paths(Vec<Option<JsonPath>>),
}

/// The cells of one object of a built-in kind.
type CellsOf = fn(&Value, Timestamp) -> Vec<Value>;

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
}

impl Column {
    fn new(name: &str, kind: &str, priority: i64) -> Self {
        let format = if name == "Name" { "name" } else { "" };
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            format: format.to_owned(),
            description: String::new(),
            priority,
        }
    }
}

impl Columns {
    /// Columns of a built-in resource; those without any of their own show name and age.
    pub fn builtin(resource: &GroupResource) -> Self {
        let (listed, cells) = kinds::columns(resource.group(), resource.resource());
        let columns = listed
            .iter()
            .map(|(name, kind, priority)| Column::new(name, kind, *priority))
            .collect();
        Self {
            cells: Cells::Builtin(cells),
            columns,
        }
    }

    /// Columns from a CRD version's `additionalPrinterColumns`; name and age if there are none.
    ///
    /// A path that cannot be read gives empty cells.
    pub fn custom(additional: &[Value]) -> Self {
        let age =
            [json!({ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" })];
        let additional = if additional.is_empty() {
            &age
        } else {
            additional
        };
        let mut columns = vec![Column::new("Name", "string", 0)];
        let mut paths = Vec::new();
        for column in additional {
            let text = |member: &str| {
                column
                    .get(member)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            columns.push(Column {
                name: text("name"),
                kind: text("type"),
                format: text("format"),
                description: text("description"),
                priority: column
                    .get("priority")
                    .and_then(Value::as_i64)
                    .unwrap_or_default(),
            });
            paths.push(JsonPath::parse(&text("jsonPath")));
        }
        Self {
            cells: Cells::Paths(paths),
            columns,
        }
    }

    /// The table's `columnDefinitions`.
    pub fn definitions(&self) -> Value {
        self.columns
            .iter()
            .map(|column| {
                json!({
                    "name": column.name,
                    "type": column.kind,
                    "format": column.format,
                    "description": column.description,
                    "priority": column.priority,
                })
            })
            .collect()
    }

    /// The cells of one object's row.
    pub fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        self.cells_of(&object.value(), now)
    }

    /// The cells of one object that is at hand as a tree.
    pub fn cells_of(&self, value: &Value, now: Timestamp) -> Vec<Value> {
        let paths = match &self.cells {
            Cells::Builtin(cells) => return cells(value, now),
            Cells::Paths(paths) => paths,
        };
        let mut cells = vec![json!(crate::meta::text(value, "name"))];
        for (column, path) in self.columns.iter().skip(1).zip(paths) {
            let found = path.as_ref().and_then(|path| path.first(value));
            cells.push(found.map_or(Value::Null, |found| typed_cell(&column.kind, &found, now)));
        }
        cells
    }

    /// A whole row; `object` is what the request wants to see of it (all, its metadata, or nothing).
    pub fn row(&self, value: &Value, object: Option<Value>, now: Timestamp) -> Value {
        let mut row = Map::new();
        row.insert("cells".into(), Value::Array(self.cells_of(value, now)));
        if value.get("kind").and_then(Value::as_str) == Some("Pod")
            && let Some(conditions) = pods::row_conditions(value)
        {
            row.insert("conditions".into(), conditions);
        }
        if let Some(object) = object {
            row.insert("object".into(), object);
        }
        Value::Object(row)
    }
}

/// A cell as a column of type `kind` shows it; what does not fit the type is empty.
fn typed_cell(kind: &str, found: &Value, now: Timestamp) -> Value {
    match (kind, found) {
        ("integer", Value::Number(number)) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an integer column shows the whole part"
            )]
            let whole = number
                .as_i64()
                .or_else(|| number.as_f64().map(|float| float as i64));
            json!(whole)
        }
        ("number", Value::Number(_))
        | ("boolean", Value::Bool(_))
        | ("string", Value::String(_)) => found.clone(),
        ("date", Value::String(time)) => match time.parse::<Timestamp>() {
            Ok(time) => json!(age_since(Some(time), now)),
            Err(_) => json!("<invalid>"),
        },
        ("string", other) if !other.is_null() => json!(other.to_string()),
        _ => Value::Null,
    }
}
