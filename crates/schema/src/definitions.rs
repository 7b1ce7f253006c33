//! The definitions of the built-in types, which refer to each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::node::{Node, Schema};
use crate::parse::{Parser, SchemaError, below};
use crate::path::FieldPath;

/// Parsed definitions by name, such as `io.k8s.api.core.v1.Pod`. Shared parts are parsed and kept once.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    schemas: BTreeMap<Box<str>, Schema>,
}

impl Definitions {
    /// Parses the `definitions` of an `OpenAPI` v2 document or the `components.schemas` of a v3 one.
    ///
    /// Only `roots` and what they refer to is parsed. A type that contains itself is cut off where it recurs: anything
    /// is accepted there.
    pub fn parse(definitions: &Map<String, Value>, roots: &[&str]) -> Result<Self, SchemaError> {
        let mut resolver = Resolver {
            source: definitions,
            parsed: HashMap::new(),
            open: HashSet::new(),
        };
        for root in roots {
            resolver.definition(root, 0)?;
        }
        let schemas = resolver
            .parsed
            .into_iter()
            .map(|(name, schema)| (name.into(), schema))
            .collect();
        Ok(Self { schemas })
    }

    /// The schema of a definition.
    pub fn get(&self, name: &str) -> Option<&Schema> {
        self.schemas.get(name)
    }

    /// Names and schemas, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Schema)> {
        self.schemas
            .iter()
            .map(|(name, schema)| (name.as_ref(), schema))
    }
}

/// Follows references while definitions are parsed.
pub(crate) struct Resolver<'d> {
    source: &'d Map<String, Value>,
    parsed: HashMap<String, Schema>,
    open: HashSet<String>,
}

impl Resolver<'_> {
    pub(crate) fn resolve(&mut self, reference: &str, depth: usize) -> Result<Schema, SchemaError> {
        let name = reference.rsplit('/').next().unwrap_or(reference).to_owned();
        self.definition(&name, depth)
    }

    fn definition(&mut self, name: &str, depth: usize) -> Result<Schema, SchemaError> {
        if let Some(schema) = self.parsed.get(name) {
            return Ok(schema.clone());
        }
        if !self.open.insert(name.to_owned()) {
            return Ok(Schema::anything());
        }
        let source = self.source;
        let value = source
            .get(name)
            .ok_or_else(|| SchemaError::UnknownDefinition(name.to_owned()))?;
        let mut parser = Parser {
            resolver: Some(self),
            resource: false,
        };
        let schema = if number_or_text(name) {
            Schema::new(Node {
                int_or_string: true,
                ..Node::default()
            })
        } else {
            parser.schema(value, &FieldPath::new(name), depth + 1)?
        };
        self.open.remove(name);
        self.parsed.insert(name.to_owned(), schema.clone());
        Ok(schema)
    }
}

/// `target` with what a field says beside its reference: default, description, merging.
pub(crate) fn with_siblings(target: Schema, map: &Map<String, Value>) -> Schema {
    let default = map.get("default").filter(|value| !value.is_null());
    let description = map.get("description").and_then(Value::as_str);
    let strategy = map
        .get("x-kubernetes-patch-strategy")
        .and_then(Value::as_str);
    if default.is_none() && description.is_none() && strategy.is_none() {
        return target;
    }
    let mut node = copy(&target.0);
    if let Some(default) = default {
        node.default = Some(default.clone());
    }
    if let Some(description) = description {
        node.description = Some(description.into());
    }
    node.patch_strategy.merge |=
        strategy.is_some_and(|words| words.split(',').any(|word| word == "merge"));
    node.patch_strategy.retain_keys |=
        strategy.is_some_and(|words| words.split(',').any(|word| word == "retainKeys"));
    node.below = below(&node);
    Schema(Arc::new(node))
}

/// Quantities are declared as strings but numbers are read too.
fn number_or_text(name: &str) -> bool {
    name.ends_with(".api.resource.Quantity")
}

/// A copy of one node; what is below stays shared. Built-in types have neither rules nor combinations of schemas.
fn copy(node: &Node) -> Node {
    Node {
        kind: node.kind,
        int_or_string: node.int_or_string,
        nullable: node.nullable,
        preserve_unknown: node.preserve_unknown,
        embedded_resource: node.embedded_resource,
        properties: node.properties.clone(),
        additional: node.additional.clone(),
        items: node.items.clone(),
        default: node.default.clone(),
        description: node.description.clone(),
        list_type: node.list_type,
        list_map_keys: node.list_map_keys.clone(),
        map_type: node.map_type,
        patch_strategy: node.patch_strategy,
        patch_merge_key: node.patch_merge_key.clone(),
        format: node.format,
        limits: node.limits.clone(),
        rules: Box::default(),
        below: node.below,
    }
}
