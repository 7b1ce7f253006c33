//! The node agent with real processes against a real API server.

mod adoption;
mod containers;
mod logs;
mod placement;
mod probes;
mod support;
mod surroundings;
mod termination;
