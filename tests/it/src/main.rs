//! The program as its users see it: started, asked, stopped, killed.

mod clients;
mod crash;
mod examples;
mod local_cli;
mod machine;
mod quickstart;
