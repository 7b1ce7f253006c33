//! Decides how long a step takes and how many cache blocks fit: GPU, model and parallelism in,
//! time and memory out.
//!
//! Everything is a function of its arguments; there is no clock here.
//!
//! # How a step is timed
//!
//! A step runs the batch through all layers once. Its matrix products either wait for weights
//! (small batches) or for arithmetic (large ones), and near the crossing for a bit of both, so the
//! two times are combined as the root of the sum of squares. Attention comes on top: arithmetic for prompt
//! tokens, reads of cached keys and values for generated ones. Splitting a model over GPUs adds two
//! reductions a layer. A fixed part covers scheduling, sampling and kernel launches.
//!
//! # Where the numbers come from
//!
//! Peaks are vendor data sheets ([`gpu`]), shapes are the models' published configurations
//! ([`llm`]). The efficiency factors are fitted to public measurements of vLLM; the tests name each
//! measurement and the tolerance it is met with.

mod gpu;
mod llm;
mod timing;

pub use gpu::GpuProfile;
pub use llm::{ModelProfile, Precision};
pub use timing::{StepLoad, StepModel};

#[cfg(test)]
mod tests;
