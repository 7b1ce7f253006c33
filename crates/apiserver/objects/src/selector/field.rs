//! Field selectors: `metadata.name=a,spec.nodeName!=b` over the fields a resource declares.

use crate::error::ApiError;
use crate::object::Object;
use crate::resource::{Resource, Scope};

/// A conjunction of comparisons of fields. The empty one takes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    place: Place,
    equal: bool,
    value: String,
}

/// Where an [`Object`] keeps the compared value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Name,
    Namespace,
    Field(usize),
}

impl FieldSelector {
    /// Parses the text of a request's `fieldSelector` for objects of `resource`.
    pub fn parse(text: &str, resource: &Resource) -> Result<Self, ApiError> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let (label, equal, raw) = split_term(part).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                ))
            })?;
            let value = unescape(raw)?;
            terms.push(Term {
                place: place(label, resource)?,
                equal,
                value,
            });
        }
        Ok(Self { terms })
    }

    /// Takes the object of one name only, as a watch of a single object does.
    pub fn by_name(name: &str) -> Self {
        Self {
            terms: vec![Term {
                place: Place::Name,
                equal: true,
                value: name.to_owned(),
            }],
        }
    }

    /// True if everything matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The name that must match exactly, if the selector asks for one; a list can then be a lookup.
    pub fn exact_name(&self) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.place == Place::Name && term.equal)
            .map(|term| term.value.as_str())
    }

    /// True if `object` has the values asked for.
    pub fn matches(&self, object: &Object) -> bool {
        self.terms.iter().all(|term| {
            let value = match term.place {
                Place::Name => object.name(),
                Place::Namespace => object.namespace(),
                Place::Field(index) => object.field(index),
            };
            (value == term.value) == term.equal
        })
    }
}

fn place(label: &str, resource: &Resource) -> Result<Place, ApiError> {
    match label {
        "metadata.name" => return Ok(Place::Name),
        "metadata.namespace" if resource.scope == Scope::Namespaced => return Ok(Place::Namespace),
        _ => {}
    }
    // An older name of the node's field that the API still takes.
    let label = if label == "spec.host" {
        "spec.nodeName"
    } else {
        label
    };
    resource
        .fields
        .iter()
        .position(|field| field.label.as_ref() == label)
        .map(Place::Field)
        .ok_or_else(|| ApiError::bad_request(unknown_label(resource, label)))
}

/// Built-in kinds without fields of their own have another wording than all others.
fn unknown_label(resource: &Resource, label: &str) -> String {
    if resource.fields.is_empty() && !resource.is_custom() {
        let known = r#"only "metadata.name", "metadata.namespace""#;
        return format!("{label:?} is not a known field selector: {known}");
    }
    format!("field label not supported: {label}")
}

/// Splits at commas that no backslash escapes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, symbol) in text.char_indices() {
        match symbol {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_term(part: &str) -> Option<(&str, bool, &str)> {
    for (at, _) in part.char_indices() {
        let rest = &part[at..];
        for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(sign) {
                return Some((&part[..at], equal, value));
            }
        }
    }
    None
}

fn unescape(raw: &str) -> Result<String, ApiError> {
    let mut value = String::with_capacity(raw.len());
    let mut symbols = raw.chars();
    while let Some(symbol) = symbols.next() {
        match symbol {
            '\\' => match symbols.next() {
                Some(escaped @ ('\\' | ',' | '=')) => value.push(escaped),
                other => {
                    let found = other.map(String::from).unwrap_or_default();
                    return Err(ApiError::bad_request(format!(
                        "invalid field selector: invalid escape sequence: \\{found}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(ApiError::bad_request(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(symbol)
                )));
            }
            other => value.push(other),
        }
    }
    Ok(value)
}
