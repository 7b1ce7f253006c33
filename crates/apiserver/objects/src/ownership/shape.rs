//! How a value is merged: what a schema says, what object metadata is known to be, or what the value shows.

use kthena_schema::{ListType, MapType, Schema};
use serde_json::Value;

/// The known structure at a place in an object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape<'a> {
    /// The object itself, whose `metadata` is known whatever its schema says.
    Root(Option<&'a Schema>, Origin),
    /// What a schema says.
    Of(&'a Schema, Origin),
    /// Object metadata.
    Metadata,
    /// A list in object metadata: unique texts.
    TextSet,
    /// The owner references.
    Owners,
    /// One value, not merged.
    Whole,
    /// Nothing is known: objects are merged, lists are one value.
    Unknown,
}

/// Where a schema comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A built-in type: what it requires is there even when it was not given.
    Builtin,
    /// A CRD: nothing is there but what was given.
    Custom,
}

/// How a list is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListShape<'a> {
    /// As one value.
    Whole,
    /// By item value.
    Set,
    /// By these members of each item.
    Map(Vec<&'a str>),
}

const METADATA_MEMBERS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

impl<'a> Shape<'a> {
    /// The shape of a member, and whether it is declared (rather than a key of a map).
    pub(super) fn member(self, name: &str) -> (Self, bool) {
        match self {
            // Not declared: metadata as a whole can never be removed.
            Self::Root(..) if name == "metadata" => (Self::Metadata, false),
            Self::Root(Some(schema), origin) | Self::Of(schema, origin) => {
                let declared = declares(schema, name);
                let below = schema
                    .field(name)
                    .map_or(Self::Unknown, |below| Self::Of(below, origin));
                (below, declared)
            }
            Self::Metadata => (metadata_member(name), METADATA_MEMBERS.contains(&name)),
            Self::Root(None, _) | Self::TextSet | Self::Owners | Self::Whole | Self::Unknown => {
                (Self::Unknown, false)
            }
        }
    }

    /// The shape of a list's items.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Of(schema, origin) => schema
                .item()
                .map_or(Self::Unknown, |item| Self::Of(item, origin)),
            Self::Owners => Self::Whole,
            _ => Self::Unknown,
        }
    }

    /// True if an object here is one value.
    pub(super) fn is_whole_map(self) -> bool {
        match self {
            Self::Of(schema, _) => schema.map_type() == MapType::Atomic,
            Self::Whole => true,
            _ => false,
        }
    }

    /// How a list here is merged.
    pub(super) fn list(self) -> ListShape<'a> {
        match self {
            Self::Of(schema, _) => match schema.list_type() {
                ListType::Atomic => ListShape::Whole,
                ListType::Set => ListShape::Set,
                ListType::Map => ListShape::Map(schema.list_map_keys().collect()),
            },
            Self::TextSet => ListShape::Set,
            Self::Owners => ListShape::Map(vec!["uid"]),
            _ => ListShape::Whole,
        }
    }

    /// True for a member that built-in types always have, even when it is empty.
    ///
    /// They say so by requiring it or with an empty object as its default.
    pub(super) fn always_has(self, name: &str) -> bool {
        match self {
            Self::Root(..) if name == "metadata" => true,
            Self::Root(Some(schema), Origin::Builtin) | Self::Of(schema, Origin::Builtin) => {
                let is_empty =
                    |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
                let below = schema.field(name).filter(|_| declares(schema, name));
                below.is_some_and(|below| below.default_value().is_some_and(is_empty))
                    || schema.required().any(|required| required == name)
            }
            _ => false,
        }
    }

    /// True for a member that the type does not have.
    pub(super) fn lacks(self, name: &str) -> bool {
        match self {
            Self::Root(Some(_), _) if matches!(name, "apiVersion" | "kind" | "metadata") => false,
            Self::Root(Some(schema), _) | Self::Of(schema, _) => {
                let open = schema.preserves_unknown() || schema.properties().next().is_none();
                !open && schema.field(name).is_none()
            }
            Self::Metadata => !METADATA_MEMBERS.contains(&name),
            _ => false,
        }
    }

    /// The step to a list item; `None` if it lacks all its keys.
    pub(super) fn item_step(self, list: &ListShape<'_>, item: &Value) -> Option<String> {
        match list {
            ListShape::Whole => None,
            ListShape::Set => Some(format!("v:{item}")),
            ListShape::Map(keys) => {
                let mut found = serde_json::Map::new();
                for key in keys {
                    let value = item.get(key).cloned().or_else(|| self.key_default(key));
                    if let Some(value) = value.filter(|value| !value.is_null()) {
                        found.insert((*key).to_owned(), value);
                    }
                }
                if found.is_empty() {
                    None
                } else {
                    Some(format!("k:{}", Value::Object(found)))
                }
            }
        }
    }

    fn key_default(self, key: &str) -> Option<Value> {
        match self {
            Self::Of(schema, _) => schema.item()?.field(key)?.default_value().cloned(),
            _ => None,
        }
    }
}

/// True if `schema` names the member itself.
fn declares(schema: &Schema, name: &str) -> bool {
    match schema.additional() {
        None => schema.field(name).is_some(),
        // Both at once are rare, so the names are only searched here.
        Some(_) => schema.properties().any(|(property, _)| property == name),
    }
}

fn metadata_member<'a>(name: &str) -> Shape<'a> {
    match name {
        "finalizers" => Shape::TextSet,
        "ownerReferences" => Shape::Owners,
        "managedFields" => Shape::Whole,
        _ => Shape::Unknown,
    }
}
