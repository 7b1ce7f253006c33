//! The router over real sockets, with engines that do what a test tells them.

mod answers;
mod client;
mod drain;
mod engine;
mod errors;
mod faults;
mod health;
mod logs;
mod requests;
mod setup;
mod streams;
