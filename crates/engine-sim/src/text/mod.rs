//! Decides what text is in tokens and what an engine answers. Both are pure: the same prompt and
//! seed always give the same tokens.
//!
//! - [`tokenizer`] turns text into ids and back without loss;
//! - [`answer`] plans a whole answer: its tokens, where it ends and why.

pub mod answer;
mod prose;
pub mod tokenizer;

pub(crate) use prose::Dice;

#[cfg(test)]
mod tests;
