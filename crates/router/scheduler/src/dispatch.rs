//! A request on its way: what recorders noted of it, until it ends.

use std::time::Duration;

use smallvec::SmallVec;

use crate::plugin::{End, Outcome, Receipt};

/// The receipts of one dispatched request. Dropping it tells recorders that nobody waited for the end.
#[must_use = "recorders hear of the request's end through this"]
#[derive(Default)]
pub struct Dispatch {
    receipts: SmallVec<[Box<dyn Receipt>; 2]>,
}

impl Dispatch {
    pub(crate) fn new(receipts: SmallVec<[Box<dyn Receipt>; 2]>) -> Self {
        Self { receipts }
    }

    /// The first byte of the answer's body is here.
    pub fn first_token(&mut self, at: Duration) {
        for receipt in &mut self.receipts {
            receipt.first_token(at);
        }
    }

    /// The answer was relayed whole.
    pub fn complete(mut self, outcome: Outcome) {
        self.end(&End::Complete(outcome));
    }

    /// The engine did not answer, or not with success: what was recorded is taken back.
    pub fn fail(mut self) {
        self.end(&End::Failed);
    }

    fn end(&mut self, end: &End) {
        for receipt in self.receipts.drain(..) {
            receipt.ended(end);
        }
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.end(&End::Abandoned);
    }
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch")
            .field("receipts", &self.receipts.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
