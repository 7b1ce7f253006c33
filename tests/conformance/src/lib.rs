//! What a Kubernetes API server must answer, as data, and the player that asks a server.
//!
//! A case is a list of steps in YAML: a request and what the answer must hold, or a watch and the events it
//! must give. The same files are played against a real kube-apiserver, which proves the cases, and against the
//! embedded server, which must not differ.
//!
//! # Invariants
//!
//! - Every case has a namespace of its own, so cases run side by side and in any order.
//! - A case says only what matters to it: an object in `match` may hold more fields than are listed, a list
//!   must have exactly the listed items.
//!
//! # Where to go next
//!
//! [`case`] is the format, [`matching`] compares, [`player`] talks to the server. The cases are in `cases/`.

pub mod case;
pub mod matching;
pub mod player;
