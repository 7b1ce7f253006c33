//! A simulated inference engine.
pub mod batch;
pub mod kv_cache;
pub mod model;
pub mod text;
