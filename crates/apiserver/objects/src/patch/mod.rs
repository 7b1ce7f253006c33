//! The patch formats that are pure functions of object and patch: JSON patch, merge patch, strategic merge patch.
//!
//! Server-side apply is in [`crate::ownership`], as it depends on who set what.

mod json;
mod merge;
mod order;
mod strategic;
#[cfg(test)]
mod tests;

pub use json::json_patch;
pub use merge::merge_patch;
pub use strategic::strategic_merge_patch;
