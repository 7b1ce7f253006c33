//! Kthena on one machine, with no cluster.

pub mod apply;
pub mod frame;
pub mod layout;
pub mod manifest;
mod positions;
pub mod progress;
#[cfg(test)]
mod tests;
pub mod view;
