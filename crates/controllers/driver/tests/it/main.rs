//! The controller against a real kube-apiserver, with pods that KWOK plays.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;
mod gang;
mod killed;
mod lifecycle;
mod recovery;
mod rollout;
mod scaling;
