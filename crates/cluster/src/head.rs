//! Finds out which object a JSON text is about, and reads no further than that.
//!
//! Servers write the identity of an object first. Whoever only needs that would otherwise walk through the whole
//! template of a pod and the record of who wrote which field of it.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// What is needed of every object, whatever else is wrong with it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) name: String,
    /// Empty for cluster-scoped objects.
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
}

/// Reads the head. What follows it is not looked at, not even for whether it is JSON.
pub(crate) fn read(object: &str) -> Result<Head, serde_json::Error> {
    let mut found = Found::default();
    let mut reader = serde_json::Deserializer::from_str(object);
    let outcome = Object(&mut found).deserialize(&mut reader);
    if !found.is_complete() {
        outcome?;
    }
    Ok(Head {
        name: found.name.unwrap_or_default(),
        namespace: found.namespace.unwrap_or_default(),
        uid: found.uid.unwrap_or_default(),
        resource_version: found.resource_version.unwrap_or_default(),
    })
}

#[derive(Debug, Default)]
struct Found {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Found {
    /// Nothing that follows matters.
    fn is_complete(&self) -> bool {
        self.name.is_some()
            && self.namespace.is_some()
            && self.uid.is_some()
            && self.resource_version.is_some()
    }
}

struct Object<'a>(&'a mut Found);

struct Metadata<'a>(&'a mut Found);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum ObjectField {
    Metadata,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum MetadataField {
    Name,
    Namespace,
    Uid,
    ResourceVersion,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(field) = members.next_key()? {
            match field {
                ObjectField::Metadata => members.next_value_seed(Metadata(self.0))?,
                ObjectField::Other => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Metadata<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let found = self.0;
        while let Some(field) = members.next_key()? {
            match field {
                MetadataField::Name => found.name = Some(members.next_value()?),
                MetadataField::Namespace => found.namespace = members.next_value()?,
                MetadataField::Uid => found.uid = Some(members.next_value()?),
                MetadataField::ResourceVersion => {
                    found.resource_version = Some(members.next_value()?);
                }
                MetadataField::Other => drop(members.next_value::<IgnoredAny>()?),
            }
            if found.is_complete() {
                // The only way to stop a parser early; the caller looks at what was found.
                return Err(A::Error::custom("the rest is not read"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
