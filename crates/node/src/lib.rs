//! wip
pub mod plan;
pub mod supervisor;
