//! Adapters: takes out engines that have not loaded what is asked for.

use kthena_router_scheduler::{Candidates, Filter, RequestFacts};

/// The plugin's name.
pub const NAME: &str = "lora-affinity";

/// Keeps endpoints whose engine lists the adapter, or the model it serves when no adapter is asked for. An engine that
/// was never asked for its list has nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoraAffinity;

impl Filter for LoraAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, request: &RequestFacts<'_>, candidates: &Candidates<'_>, keep: &mut [bool]) {
        for (keep, candidate) in keep.iter_mut().zip(candidates.iter()) {
            *keep = candidate.endpoint.models().contains(request.served_model);
        }
    }
}

#[cfg(test)]
mod tests;
