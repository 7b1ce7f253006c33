//! Which objects a list, watch or bulk delete is about: label selectors and field selectors.
//!
//! Both are parsed from the text of a request; errors have the API server's wording and become `400`.

mod field;
mod label;
mod scan;
#[cfg(test)]
mod tests;

pub use field::FieldSelector;
pub use label::LabelSelector;
