//! The program as its users see it: started, asked, stopped, killed.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where and why"
)]

mod cache_aware;
mod chaos;
mod clients;
mod cluster;
mod crash;
mod examples;
mod hostile_clients;
mod local_cli;
mod lone_router;
mod machine;
mod quickstart;
mod request_path;
mod rolling_update;
mod rollout_killed;
mod router_process;
mod router_tls;
mod streaming_engine;
mod terminal;
mod verbs;
