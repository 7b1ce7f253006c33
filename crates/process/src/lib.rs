//! The life of a program: when it must stop, and waiting until everything it started, or took from a listener, has.
//!
//! # Invariants
//!
//! - The first SIGINT or SIGTERM cancels the token; a second one ends the program at once, status 130 or 143.
//! - A task that fails or panics cancels its siblings, and its error is what [`Tasks::join`] answers.

mod connections;
mod signals;
mod tasks;
#[cfg(test)]
mod tests;

pub use connections::Connections;
pub use signals::cancel_on_signals;
pub use tasks::{TaskError, Tasks};
