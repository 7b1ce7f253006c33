//! The tokens of a prompt, as the engine that serves the model makes them: bytes in, token ids out.
//!
//! A chat is brought into the form that vLLM hands to templates, rendered by the model's own template and cut into
//! tokens by the model's own tokenizer. Files are read by the caller.
//!
//! # Invariants
//!
//! - The same prompt, files and time give the same tokens, whether pieces of it are remembered or not.
//! - What cannot be known from texts alone (images, templates that a client sends) is refused, not guessed.
//! - A template's work is bounded, whatever clients send.
//!
//! # Where to go next
//!
//! [`Prompt::read`] for what a body asks, [`Tokenizer`] for the answer, `conversation` for what engines do to messages
//! before templates see them, [`SegmentMemory`] for what need not be tokenized twice.

mod conversation;
mod fault;
mod files;
mod json;
mod prompt;
mod segments;
mod template;
mod tokenizer;

pub use fault::{EncodeFault, FileFault};
pub use files::{CHAT_TEMPLATE, SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG, TokenizerFiles};
pub use prompt::{Kind, Prompt};
pub use segments::{NoMemory, SegmentKey, SegmentMemory};
pub use tokenizer::Tokenizer;
