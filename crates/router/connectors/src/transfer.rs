//! What the decode half needs from the prefill half's answer.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The value of `kv_transfer_params` in a prefill answer, as its JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransferParams(Option<String>);

/// The prefill half answered with something that is no JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the prefill answer is not a JSON object")]
pub struct BadPrefillAnswer;

impl TransferParams {
    /// Reads the body of a prefill answer.
    pub fn read(answer: &[u8]) -> Result<Self, BadPrefillAnswer> {
        let mut reader = serde_json::Deserializer::from_slice(answer);
        let params = reader
            .deserialize_map(Finder)
            .map_err(|_| BadPrefillAnswer)?;
        reader.end().map_err(|_| BadPrefillAnswer)?;
        Ok(Self(params))
    }

    /// The answer had no such member: the decode engine is told `null`, and will prefill on its own.
    pub fn is_missing(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn into_text(self) -> String {
        self.0.unwrap_or_else(|| "null".to_owned())
    }
}

/// Walks over an object and keeps one value as it is written. Of two the last counts.
struct Finder;

impl<'de> Visitor<'de> for Finder {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found: Option<&'de RawValue> = None;
        while let Some(name) = members.next_key::<Cow<'_, str>>()? {
            if name == "kv_transfer_params" {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found.map(|value| value.get().to_owned()))
    }
}

#[cfg(test)]
mod tests;
