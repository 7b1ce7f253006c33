//! The one way patterns of users are compiled: Go's RE2 syntax, unanchored.
//!
//! Admission and the router must agree on every pattern, so both call [`compile`]. Header values are compared as text;
//! the differences to Rust's own syntax are settled in [`kthena_schema::re2`].

pub use kthena_schema::re2::{Regex, RegexError, compile};
