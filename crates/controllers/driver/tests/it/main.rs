//! The controller against a real kube-apiserver, with pods that KWOK plays.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod api_server;
mod fixture;
mod gang;
mod killed;
mod lifecycle;
mod obstacles;
mod permissions;
mod recovery;
mod rollout;
mod scaling;
mod sets;
mod sets_killed;
mod take_over;
