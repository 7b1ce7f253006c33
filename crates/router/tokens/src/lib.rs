//! What it takes to make tokens of prompts while requests wait: threads, memory of what was made, checks.
//!
//! How a prompt becomes tokens is decided elsewhere; here it is done within bounds. Nothing of it knows how engines are
//! asked.
//!
//! # Invariants
//!
//! - Threads that serve connections make no tokens.
//! - Memory stays within its budget, whatever clients send.
//! - A model's tokens count as the engine's until a check finds that they are not, and then as wrong until one agrees.
//!
//! # Where to go next
//!
//! [`load`] for a model's folder, [`Pool`] for the threads, [`TokenCache`] for what is remembered, [`Checks`] for whether
//! engines agree.

mod cache;
mod checks;
mod files;
mod pool;

pub use cache::{PromptHash, TokenCache};
pub use checks::{Checking, Checks, Outcome, Verdict};
pub use files::{TokenizerFolderError, load};
pub use pool::Pool;
