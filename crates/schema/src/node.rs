//! The compact tree a schema is kept as, and what others may ask of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Number, Value};

use crate::cel::Rule;
use crate::format::Format;
use crate::re2::Regex;

/// A parsed schema. Cloning is cheap: the tree is shared.
#[derive(Debug, Clone)]
pub struct Schema(pub(crate) Arc<Node>);

/// How the items of a list are told apart when it is merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    #[default]
    Atomic,
    /// Items are scalars and unique.
    Set,
    /// Items are objects, unique by [`Schema::list_map_keys`].
    Map,
}

/// How an object is merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MapType {
    /// Member by member.
    #[default]
    Granular,
    /// The object is one value.
    Atomic,
}

/// How a strategic merge patch treats a list or object; several may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Items are merged, by [`Schema::patch_merge_key`] if there is one; otherwise a list is replaced.
    pub merge: bool,
    /// Members that the patch does not name are cleared.
    pub retain_keys: bool,
}

/// The JSON types a schema can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What is said about members that `properties` does not name.
#[derive(Debug, Clone, Default)]
pub(crate) enum Additional {
    /// Nothing: they are pruned.
    #[default]
    Unspecified,
    /// They are kept whatever they are.
    Any,
    /// They are refused.
    Refused,
    /// They follow this schema.
    Of(Schema),
}

/// One schema of the tree.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "keywords that are independent of each other"
)]
pub(crate) struct Node {
    pub(crate) kind: Option<Kind>,
    pub(crate) int_or_string: bool,
    pub(crate) nullable: bool,
    pub(crate) preserve_unknown: bool,
    /// An object with `apiVersion`, `kind` and `metadata` of its own; the root of a resource is one too.
    pub(crate) embedded_resource: bool,
    pub(crate) properties: BTreeMap<Box<str>, Schema>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<Schema>,
    pub(crate) default: Option<Value>,
    pub(crate) description: Option<Box<str>>,
    pub(crate) list_type: Option<ListType>,
    pub(crate) list_map_keys: Box<[Box<str>]>,
    pub(crate) map_type: MapType,
    pub(crate) patch_strategy: PatchStrategy,
    pub(crate) patch_merge_key: Option<Box<str>>,
    pub(crate) format: Option<Format>,
    /// Boxed: most nodes have none.
    pub(crate) limits: Option<Box<Limits>>,
    pub(crate) rules: Box<[Rule]>,
    pub(crate) below: Below,
}

/// What occurs in a node or anywhere below it, so that whole walks can be skipped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Below {
    pub(crate) defaults: bool,
    pub(crate) unique_lists: bool,
    pub(crate) rules: bool,
}

/// Value constraints beyond the type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(crate) required: Box<[Box<str>]>,
    pub(crate) one_of_values: Box<[Value]>,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<Number>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) all_of: Box<[Schema]>,
    pub(crate) any_of: Box<[Schema]>,
    pub(crate) one_of: Box<[Schema]>,
    pub(crate) not: Option<Schema>,
}

/// A numeric limit.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) value: Number,
    pub(crate) exclusive: bool,
}

impl Schema {
    pub(crate) fn new(node: Node) -> Self {
        Self(Arc::new(node))
    }

    /// A schema that keeps and accepts anything.
    pub fn anything() -> Self {
        Self::new(Node {
            preserve_unknown: true,
            nullable: true,
            ..Node::default()
        })
    }

    /// The schema of member `name` of an object: a declared property, else what additional ones follow.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        match (self.0.properties.get(name), &self.0.additional) {
            (Some(schema), _) | (None, Additional::Of(schema)) => Some(schema),
            _ => None,
        }
    }

    /// The schema of the items of a list.
    pub fn item(&self) -> Option<&Schema> {
        self.0.items.as_ref()
    }

    /// Follows member names; a step through a list uses the schema of its items and names nothing.
    pub fn at(&self, steps: &[&str]) -> Option<&Schema> {
        let mut schema = self;
        for step in steps {
            while let Some(item) = schema.item() {
                schema = item;
            }
            schema = schema.field(step)?;
        }
        Some(schema)
    }

    /// Declared members with their schemas, by name.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Schema)> {
        self.0
            .properties
            .iter()
            .map(|(name, schema)| (name.as_ref(), schema))
    }

    /// The schema that undeclared members of an object follow, which makes it a map.
    pub fn additional(&self) -> Option<&Schema> {
        match &self.0.additional {
            Additional::Of(schema) => Some(schema),
            _ => None,
        }
    }

    /// `object`, `array`, `string`, `integer`, `number` or `boolean`; `None` if any, or an integer or string, is allowed.
    pub fn type_name(&self) -> Option<&'static str> {
        self.0.kind.map(Kind::name)
    }

    /// True if an integer and a string are both allowed.
    pub fn is_int_or_string(&self) -> bool {
        self.0.int_or_string
    }

    /// True if `null` is a value.
    pub fn is_nullable(&self) -> bool {
        self.0.nullable
    }

    /// True if undeclared members are kept.
    pub fn preserves_unknown(&self) -> bool {
        self.0.preserve_unknown
    }

    /// How items of this list are told apart; atomic unless said otherwise.
    pub fn list_type(&self) -> ListType {
        self.0.list_type.unwrap_or_default()
    }

    /// The members that identify an item of a list of type map.
    pub fn list_map_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.list_map_keys.iter().map(AsRef::as_ref)
    }

    /// How this object is merged.
    pub fn map_type(&self) -> MapType {
        self.0.map_type
    }

    /// How a strategic merge patch treats this value; only built-in types say so.
    pub fn patch_strategy(&self) -> PatchStrategy {
        self.0.patch_strategy
    }

    /// The member that identifies an item in a strategic merge patch.
    pub fn patch_merge_key(&self) -> Option<&str> {
        self.0.patch_merge_key.as_deref()
    }

    /// The default of this value.
    pub fn default_value(&self) -> Option<&Value> {
        self.0.default.as_ref()
    }

    /// What the field is for.
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Names of members that must be present.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.0
            .limits
            .iter()
            .flat_map(|limits| limits.required.iter().map(AsRef::as_ref))
    }
}
