//! Kthena on one machine, with no cluster.

pub mod layout;
pub mod manifest;
mod positions;
#[cfg(test)]
mod tests;
