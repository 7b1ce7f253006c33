//! Decides where a request goes: from its model, path and headers to one weighted target of a `ModelRoute`.
//!
//! A [`Route`] is a `ModelRoute` made ready: weights checked, patterns compiled. A [`RouteTable`] indexes routes by
//! base model name and by adapter name, and [`RouteTable::select`] answers one request.
//!
//! # Invariants
//!
//! - A table never changes; an update builds another one from the same [`Route`]s, so a request sees all of an edit
//!   or none of it.
//! - The same routes give the same table in whatever order they arrived: candidates are ordered by age.
//! - Chance comes in as one number per request; the same number repeats the decision.
//! - Objects that passed no admission are safe: what is invalid in them matches nothing.
//!
//! # Where to go next
//!
//! [`table`] for the order of candidates, [`rule`] for what a rule asks, [`weights`] for the draw.

pub mod rule;
pub mod table;
pub mod text_match;
pub mod weights;

pub use rule::{HeaderSource, NoHeaders, RouteFacts, Target};
pub use table::{Limited, Route, RouteTable, Selection};
