//! What tests share: a real control plane, waiting for conditions, builders for common objects.
//!
//! Nothing here is part of a shipped program. A test that needs a real API server takes it from
//! [`control_plane`], which starts it once per test binary; a test that waits takes [`eventually`], so that
//! no test sleeps for a guessed time.
//!
//! # Invariants
//!
//! - Every process started here ends with the test program, also when that program is killed.
//! - A missing tool is an error that says which command provides it, never a silent skip.

pub mod binary;
pub mod control_plane;
pub mod crds;
pub mod eventually;
pub mod ledger;
pub mod objects;
pub mod ports;
pub mod redis;

pub use control_plane::{ControlPlane, ControlPlaneError, Part};
pub use eventually::{eventually, eventually_ok};
pub use redis::{RedisServer, RedisServerError};
