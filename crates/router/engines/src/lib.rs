//! What an engine tells about itself, as numbers: metric text in, a sample of the engine's state out.
//!
//! A page is read once from its first byte to its last. Nothing is kept of a family that is not asked for, so a page
//! costs about as much as finding its line ends. vLLM, `SGLang` and TGI are told apart by their names, old and new;
//! any other page is refused, and such an engine is judged by what the router itself knows of it.
//!
//! # Invariants
//!
//! - The order of the lines does not matter, and neither does where a family's declaration stands.
//! - A page that is refused changes nothing; the caller keeps what it knew.
//! - Several series of one family are the ranks of one engine: requests add up, usage is that of the fullest,
//!   histograms add up.
//!
//! # Where to go next
//!
//! [`Reading`] for one page, [`Meter`] for what follows from several in a row, [`model_ids`] for the models an engine
//! has loaded, [`exposition`] for the text format. A new name of an old meaning is a line in `reading/families.rs`.

pub mod exposition;
mod interval;
mod meter;
mod models;
mod reading;

pub use interval::{IntervalMean, Totals};
pub use meter::{EngineState, Meter};
pub use models::{ModelsFault, model_ids};
pub use reading::{PageFault, Reading};
