//! The program as its users see it: started, asked, stopped, killed.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where and why"
)]

mod clients;
mod cluster;
mod crash;
mod examples;
mod local_cli;
mod machine;
mod quickstart;
