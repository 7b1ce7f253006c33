//! wip
pub mod plan;
