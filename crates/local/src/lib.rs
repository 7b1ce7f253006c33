//! Kthena on one machine, with no cluster: API server, controllers, node agent and router in one program.
//!
//! # Invariants
//!
//! - Nothing starts before every manifest was read and every fault of it was told.
//! - What the API server acknowledged is there again after `down` and `up`, and after a crash.
//! - One program owns a state folder; what it started ends with it.
//!
//! # Where to go next
//!
//! [`up`] puts the parts together, [`router_config`] is what the router gets,
//! [`control`] speaks to a program that runs, [`manifest`] and [`apply`] bring YAML in,
//! [`view`], [`frame`] and [`progress`] are what a person sees.

pub mod apply;
pub mod ask;
pub mod control;
pub mod frame;
pub mod layout;
pub mod loads;
mod logs;
pub mod manifest;
mod positions;
pub mod progress;
pub mod router_config;
pub mod show;
#[cfg(test)]
mod tests;
pub mod up;
pub mod view;
