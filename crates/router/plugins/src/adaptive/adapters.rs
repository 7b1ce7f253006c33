//! Adapters that requests of one endpoint use.
//!
//! An engine has few adapters active at a time, and brings in another only as it has room, while all wait. How many
//! and how long, nobody tells; that requests for adapters which nobody uses there wait longer is seen.

use smallvec::SmallVec;

/// Adapters, and by how many requests each is used.
#[derive(Debug, Clone, Default)]
pub(super) struct Adapters(SmallVec<[(u64, u32); 4]>);

/// The adapter of a request on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Asked {
    /// The hash of its name.
    pub(super) name: u64,
    /// How many others were in use where it was in use by nobody; `None` = it was in use.
    pub(super) beside: Option<f64>,
}

impl Adapters {
    /// How many others are in use if this one is not.
    pub(super) fn beside(&self, name: u64) -> Option<f64> {
        let used = self.0.iter().any(|(known, _)| *known == name);
        (!used).then(|| f64::from(u32::try_from(self.0.len()).unwrap_or(u32::MAX)))
    }

    /// A request for it goes there.
    pub(super) fn enter(&mut self, name: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, requests)) => *requests += 1,
            None => self.0.push((name, 1)),
        }
    }

    /// Such a request ends.
    pub(super) fn leave(&mut self, name: u64) {
        let Some(at) = self.0.iter().position(|(known, _)| *known == name) else {
            return;
        };
        self.0[at].1 -= 1;
        if self.0[at].1 == 0 {
            self.0.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_in_use_until_its_last_request_ends() {
        let mut adapters = Adapters::default();
        for name in [7, 7, 8] {
            adapters.enter(name);
        }
        assert_eq!(adapters.beside(7), None);
        assert_eq!(adapters.beside(9), Some(2.0));
        adapters.leave(7);
        assert_eq!(adapters.beside(7), None);
        adapters.leave(7);
        assert_eq!(adapters.beside(7), Some(1.0));
        adapters.leave(7);
        adapters.leave(8);
        assert_eq!(adapters.beside(8), Some(0.0));
    }
}
