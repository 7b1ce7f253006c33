//! The program as its users see it: started, asked, stopped, killed.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where and why"
)]

mod chaos;
mod clients;
mod cluster;
mod crash;
mod examples;
mod local_cli;
mod machine;
mod quickstart;
mod request_path;
mod router_process;
mod streaming_engine;
mod terminal;
mod verbs;
