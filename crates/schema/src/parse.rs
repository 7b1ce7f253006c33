//! From a schema's JSON to the compact tree.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::cel::{self, RuleError};
use crate::definitions::{self, Resolver};
use crate::format::Format;
use crate::node::{
    Additional, Below, Bound, Kind, Limits, ListType, MapType, Node, PatchStrategy, Schema,
};
use crate::path::FieldPath;
use crate::re2::{self, RegexError};

/// Nesting beyond which a schema is refused.
const MAX_DEPTH: usize = 100;

/// Why a schema is refused. A CRD with such a schema must not be registered.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A keyword has a value of the wrong JSON type or an unknown name.
    #[error("{path}: invalid {keyword}")]
    Keyword {
        /// The schema it stands in.
        path: FieldPath,
        /// The keyword.
        keyword: &'static str,
    },
    /// A pattern does not compile.
    #[error("{path}.pattern: {source}")]
    Pattern {
        /// The schema it stands in.
        path: FieldPath,
        /// Why.
        #[source]
        source: RegexError,
    },
    /// A validation rule does not compile.
    #[error("{path}.x-kubernetes-validations[{index}]: {source}")]
    Rule {
        /// The schema it stands in.
        path: FieldPath,
        /// Which rule.
        index: usize,
        /// Why.
        #[source]
        source: RuleError,
    },
    /// The schema is nested too deeply.
    #[error("{path}: nested too deeply")]
    Depth {
        /// Where it became too deep.
        path: FieldPath,
    },
    /// A definition that is referred to does not exist.
    #[error("no definition {0:?}")]
    UnknownDefinition(String),
}

impl Schema {
    /// Parses the `openAPIV3Schema` of a CRD version. The root keeps `apiVersion`, `kind` and `metadata` whole.
    pub fn parse_resource(schema: &Value) -> Result<Self, SchemaError> {
        let mut parser = Parser {
            resolver: None,
            resource: true,
        };
        parser.schema(schema, &FieldPath::root(), 0)
    }

    /// Parses a schema of any value.
    pub fn parse(schema: &Value) -> Result<Self, SchemaError> {
        Parser {
            resolver: None,
            resource: false,
        }
        .schema(schema, &FieldPath::root(), 0)
    }
}

/// Parses schemas, following references through `resolver` where there is one.
pub(crate) struct Parser<'r, 'd> {
    pub(crate) resolver: Option<&'r mut Resolver<'d>>,
    pub(crate) resource: bool,
}

/// The keywords of one schema, with where it stands.
struct Keywords<'v> {
    map: &'v Map<String, Value>,
    path: &'v FieldPath,
}

impl<'v> Keywords<'v> {
    fn fault(&self, keyword: &'static str) -> SchemaError {
        SchemaError::Keyword {
            path: self.path.clone(),
            keyword,
        }
    }

    fn read<T>(
        &self,
        keyword: &'static str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, SchemaError> {
        match self.map.get(keyword) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.fault(keyword)),
        }
    }

    fn flag(&self, keyword: &'static str) -> Result<bool, SchemaError> {
        Ok(self.read(keyword, Value::as_bool)?.unwrap_or(false))
    }

    fn text(&self, keyword: &'static str) -> Result<Option<&'v str>, SchemaError> {
        self.read(keyword, Value::as_str)
    }

    fn texts(&self, keyword: &'static str) -> Result<Box<[Box<str>]>, SchemaError> {
        let list = self.read(keyword, |value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.as_str().map(Box::from))
                .collect::<Option<Box<[_]>>>()
        })?;
        Ok(list.unwrap_or_default())
    }

    fn list(&self, keyword: &'static str) -> Result<&'v [Value], SchemaError> {
        Ok(self
            .read(keyword, |value| value.as_array().map(Vec::as_slice))?
            .unwrap_or(&[]))
    }
}

impl Parser<'_, '_> {
    pub(crate) fn schema(
        &mut self,
        value: &Value,
        path: &FieldPath,
        depth: usize,
    ) -> Result<Schema, SchemaError> {
        if depth > MAX_DEPTH {
            return Err(SchemaError::Depth { path: path.clone() });
        }
        let map = value.as_object().ok_or_else(|| SchemaError::Keyword {
            path: path.clone(),
            keyword: "schema",
        })?;
        let reference = reference(map);
        if let (Some(reference), Some(resolver)) = (reference, self.resolver.as_deref_mut()) {
            let target = resolver.resolve(reference, depth)?;
            return Ok(definitions::with_siblings(target, map));
        }
        let keywords = Keywords { map, path };
        let mut node = Node {
            kind: kind(&keywords)?,
            ..Node::default()
        };
        self.children(&keywords, &mut node, depth)?;
        merging(&keywords, &mut node)?;
        node.int_or_string = keywords.flag("x-kubernetes-int-or-string")?
            || map.get("format").and_then(Value::as_str) == Some("int-or-string");
        node.nullable = keywords.flag("nullable")?;
        node.preserve_unknown |= keywords.flag("x-kubernetes-preserve-unknown-fields")?;
        node.embedded_resource =
            keywords.flag("x-kubernetes-embedded-resource")? || (depth == 0 && self.resource);
        node.default = map.get("default").filter(|value| !value.is_null()).cloned();
        node.description = keywords.text("description")?.map(Box::from);
        if node.int_or_string {
            node.kind = None;
        }
        node.format = keywords
            .text("format")?
            .and_then(|name| Format::of(name, node.kind));
        node.limits = self.limits(&keywords, depth)?;
        node.rules = rules(&keywords)?;
        node.below = below(&node);
        Ok(Schema::new(node))
    }

    fn children(
        &mut self,
        keywords: &Keywords<'_>,
        node: &mut Node,
        depth: usize,
    ) -> Result<(), SchemaError> {
        let path = keywords.path;
        if let Some(properties) = keywords.read("properties", Value::as_object)? {
            let mut parsed = BTreeMap::new();
            for (name, schema) in properties {
                let schema = if self.resource && depth == 0 && name == "metadata" {
                    Schema::anything()
                } else {
                    self.schema(schema, &path.field(name), depth + 1)?
                };
                parsed.insert(name.as_str().into(), schema);
            }
            node.properties = parsed;
        }
        node.additional = match keywords.map.get("additionalProperties") {
            None | Some(Value::Null) => Additional::Unspecified,
            Some(Value::Bool(true)) => Additional::Any,
            Some(Value::Bool(false)) => Additional::Refused,
            Some(schema) => Additional::Of(self.schema(schema, &path.key("*"), depth + 1)?),
        };
        if let Some(items) = keywords.map.get("items").filter(|items| !items.is_null()) {
            node.items = Some(self.schema(
                items,
                &FieldPath::new(format!("{}[]", path.as_str())),
                depth + 1,
            )?);
        }
        // Built-in types say nothing about members where anything may stand (managed fields, raw extensions).
        let open = node.properties.is_empty() && matches!(node.additional, Additional::Unspecified);
        node.preserve_unknown = self.resolver.is_some() && node.kind == Some(Kind::Object) && open;
        Ok(())
    }

    fn limits(
        &mut self,
        keywords: &Keywords<'_>,
        depth: usize,
    ) -> Result<Option<Box<Limits>>, SchemaError> {
        let map = keywords.map;
        if !LIMITING.iter().any(|keyword| map.contains_key(*keyword)) {
            return Ok(None);
        }
        let count = |keyword| keywords.read(keyword, Value::as_u64);
        let pattern = keywords
            .text("pattern")?
            .filter(|pattern| !pattern.is_empty());
        let pattern =
            pattern
                .map(re2::compile)
                .transpose()
                .map_err(|source| SchemaError::Pattern {
                    path: keywords.path.clone(),
                    source,
                })?;
        Ok(Some(Box::new(Limits {
            required: keywords.texts("required")?,
            one_of_values: keywords.list("enum")?.into(),
            minimum: bound(keywords, "minimum", "exclusiveMinimum")?,
            maximum: bound(keywords, "maximum", "exclusiveMaximum")?,
            multiple_of: keywords.read("multipleOf", |value| value.as_number().cloned())?,
            min_length: count("minLength")?,
            max_length: count("maxLength")?,
            pattern,
            min_items: count("minItems")?,
            max_items: count("maxItems")?,
            unique_items: keywords.flag("uniqueItems")?,
            min_properties: count("minProperties")?,
            max_properties: count("maxProperties")?,
            all_of: self.alternatives(keywords, "allOf", depth)?,
            any_of: self.alternatives(keywords, "anyOf", depth)?,
            one_of: self.alternatives(keywords, "oneOf", depth)?,
            not: match map.get("not") {
                Some(schema) => Some(self.schema(schema, keywords.path, depth + 1)?),
                None => None,
            },
        })))
    }

    fn alternatives(
        &mut self,
        keywords: &Keywords<'_>,
        keyword: &'static str,
        depth: usize,
    ) -> Result<Box<[Schema]>, SchemaError> {
        keywords
            .list(keyword)?
            .iter()
            .map(|schema| self.schema(schema, keywords.path, depth + 1))
            .collect()
    }
}

/// What a schema refers to, in place or, as version 3 documents do it, as the only part of `allOf`.
fn reference(map: &Map<String, Value>) -> Option<&str> {
    let direct = map.get("$ref");
    let wrapped = || match map.get("allOf")?.as_array()?.as_slice() {
        [only] => only.get("$ref"),
        _ => None,
    };
    direct.or_else(wrapped)?.as_str()
}

fn rules(keywords: &Keywords<'_>) -> Result<Box<[cel::Rule]>, SchemaError> {
    let rules = keywords
        .list("x-kubernetes-validations")?
        .iter()
        .enumerate();
    rules
        .map(|(index, rule)| {
            let path = || keywords.path.clone();
            cel::Rule::parse(rule).map_err(|source| SchemaError::Rule {
                path: path(),
                index,
                source,
            })
        })
        .collect()
}

/// Keywords whose presence makes a node carry limits.
const LIMITING: [&str; 19] = [
    "required",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
];

fn kind(keywords: &Keywords<'_>) -> Result<Option<Kind>, SchemaError> {
    Ok(match keywords.text("type")? {
        None | Some("") => None,
        Some("object") => Some(Kind::Object),
        Some("array") => Some(Kind::Array),
        Some("string") => Some(Kind::String),
        Some("integer") => Some(Kind::Integer),
        Some("number") => Some(Kind::Number),
        Some("boolean") => Some(Kind::Boolean),
        Some(_) => return Err(keywords.fault("type")),
    })
}

fn merging(keywords: &Keywords<'_>, node: &mut Node) -> Result<(), SchemaError> {
    node.list_type = match keywords.text("x-kubernetes-list-type")? {
        None => None,
        Some("atomic") => Some(ListType::Atomic),
        Some("set") => Some(ListType::Set),
        Some("map") => Some(ListType::Map),
        Some(_) => return Err(keywords.fault("x-kubernetes-list-type")),
    };
    node.list_map_keys = keywords.texts("x-kubernetes-list-map-keys")?;
    node.map_type = match keywords.text("x-kubernetes-map-type")? {
        None | Some("granular") => MapType::Granular,
        Some("atomic") => MapType::Atomic,
        Some(_) => return Err(keywords.fault("x-kubernetes-map-type")),
    };
    let strategy = keywords.text("x-kubernetes-patch-strategy")?.unwrap_or("");
    node.patch_strategy = PatchStrategy {
        merge: strategy.split(',').any(|word| word == "merge"),
        retain_keys: strategy.split(',').any(|word| word == "retainKeys"),
    };
    node.patch_merge_key = keywords
        .text("x-kubernetes-patch-merge-key")?
        .map(Box::from);
    Ok(())
}

fn bound(
    keywords: &Keywords<'_>,
    limit: &'static str,
    exclusive: &'static str,
) -> Result<Option<Bound>, SchemaError> {
    let exclusive = keywords.flag(exclusive)?;
    Ok(keywords
        .read(limit, |value| value.as_number().cloned())?
        .map(|value| Bound { value, exclusive }))
}

/// What occurs in this node or below.
pub(crate) fn below(node: &Node) -> Below {
    let mut all = Below {
        defaults: node.default.is_some(),
        unique_lists: matches!(node.list_type, Some(ListType::Set | ListType::Map)),
        rules: !node.rules.is_empty(),
    };
    let additional = match &node.additional {
        Additional::Of(schema) => Some(schema),
        _ => None,
    };
    let all_of = node.limits.iter().flat_map(|limits| limits.all_of.iter());
    for child in node
        .properties
        .values()
        .chain(additional)
        .chain(&node.items)
        .chain(all_of)
    {
        all.defaults |= child.0.below.defaults;
        all.unique_lists |= child.0.below.unique_lists;
        all.rules |= child.0.below.rules;
    }
    all
}
