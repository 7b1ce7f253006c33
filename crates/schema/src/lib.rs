//! Structural `OpenAPI` v3 schemas as the Kubernetes API server uses them, on plain JSON values.
//!
//! A [`Schema`] is parsed once, from a CRD's `openAPIV3Schema` or from the definitions of the built-in types
//! ([`Definitions`]), into a compact shared tree. Everything else is a pure function of it and a JSON value:
//! [`Schema::prune`], [`Schema::fill_defaults`], [`Schema::validate`], the CEL rules ([`Schema::validate_rules`]) and
//! the lookups that server-side apply and strategic merge need ([`Schema::field`], [`Schema::list_type`], …).
//!
//! # Invariants
//!
//! - Patterns and CEL rules are compiled when a schema is parsed, never when a value is checked.
//! - Faults come in one order: by field name and index, whatever a map's iteration gives. Texts are the API server's.
//! - No JSON value makes these functions panic.
//!
//! # Where to go next
//!
//! [`Schema`] for what can be asked, [`Fault`] for what is found. The CRDs themselves are in `kthena-api`.

mod cel;
mod check;
mod correlate;
mod defaults;
mod definitions;
mod fault;
mod format;
mod fractions;
pub mod go;
mod lists;
mod node;
mod parse;
mod path;
mod prune;
pub mod quantity;
pub mod re2;
mod validate;

pub use cel::{DEFAULT_COST_BUDGET, RuleError};
pub use check::Scale;
pub use definitions::Definitions;
pub use fault::{Cause, Fault, FaultKind, summary};
pub use fractions::FractionalInteger;
pub use node::{ListType, MapType, PatchStrategy, Schema};
pub use parse::SchemaError;
pub use path::FieldPath;

#[cfg(test)]
mod tests;
