//! What every parser of foreign bytes must hold, whatever the bytes: one function per parser, which panics if it does
//! not hold.
//!
//! The same functions are called in two ways. `cargo test` plays the inputs in `corpus/` and for a second each changed
//! copies of them ([`driver`]), with nothing but stable Rust. `make fuzz` puts libFuzzer in front of them, which finds
//! its way by coverage; what it finds is kept in `corpus/` as a small file.
//!
//! # Where to go next
//!
//! [`TARGETS`] lists the functions. To add one, write its module, a line here, a file in `libfuzzer/targets` and at
//! least one input in `corpus/`.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a finding is a panic: that is what fuzzers look for"
)]

mod body;
pub mod driver;
mod headers;
mod messages;
mod metrics;
mod split;
mod stream;

pub use body::body;
pub use headers::headers;
pub use messages::messages;
pub use metrics::metrics;
pub use stream::stream;

/// A parser under test.
pub type Target = fn(&[u8]);

/// All of them, by the name of their folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("body", body),
    ("headers", headers),
    ("messages", messages),
    ("metrics", metrics),
    ("stream", stream),
];
