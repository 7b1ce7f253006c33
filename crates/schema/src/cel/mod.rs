//! `x-kubernetes-validations`: rules in CEL, compiled when a schema is parsed.
//!
//! `compile` and `rule` compile and evaluate one rule, `need` finds which parts of a value a rule can look at, `convert` turns
//! those parts into CEL values, `functions`,
//! `network` and `quantity` add what Kubernetes has beyond standard CEL, `walk` visits an object.
//!
//! # Limits
//!
//! There is no static type check: a rule that compares a text with a number compiles and fails when it runs. Cost is
//! bounded by an estimate from the size of the value and the nesting of the rule's loops, not by counting steps.

mod compile;
mod convert;
mod functions;
mod need;
mod network;
mod quantity;
mod rule;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use rule::Rule;
pub use rule::RuleError;

/// Steps that the rules of one object may take together.
pub const DEFAULT_COST_BUDGET: u64 = 10_000_000;
