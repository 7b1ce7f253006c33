//! Our types, schema engine and CRDs beside a real kube-apiserver.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot read its data has failed"
)]

mod generated;
mod real_server;
mod recording;
mod round_trip;
