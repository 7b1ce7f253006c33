//! What the program says of itself while it runs.
//!
//! Logs go to standard error, so that standard output stays for answers and pipes. Metrics are declared by the
//! crates that own them.

mod logs;
#[cfg(test)]
mod tests;

pub use logs::{LogError, LogFormat, Logs};
