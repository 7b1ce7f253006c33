//! Which requests a prefill/decode pair is sent, in which order, as values.
//!
//! A [`Connector`] is how a prefill pod hands its KV cache to a decode pod. It says whether the two halves run one
//! after the other or at once, which top-level members of the client's body change for each half, and what the decode
//! half needs from the prefill half's answer.
//!
//! # Invariants
//!
//! - Changes name members and new values; nothing here sees the client's body, so nothing of it can get lost.
//! - What is taken from a prefill answer is handed on byte for byte: integers of any size, unknown members, order.
//! - Both halves of one attempt are made from one [`Meeting`]; another attempt needs another.
//!
//! # Where to go next
//!
//! [`connector`] for the five connectors, [`change`] for what they may change, [`transfer`] for the prefill answer.

pub mod change;
pub mod connector;
pub mod transfer;

pub use change::{Change, Changes, Member, Rule};
pub use connector::{Connector, Meeting, Order};
pub use transfer::{BadPrefillAnswer, TransferParams};
