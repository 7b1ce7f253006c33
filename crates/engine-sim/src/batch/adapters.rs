//! Slots for adapters: who is in, who makes room.

use std::sync::Arc;

/// Adapters in memory, the one used longest ago first.
#[derive(Debug)]
pub(super) struct AdapterSlots {
    slots: usize,
    resident: Vec<Arc<str>>,
}

impl AdapterSlots {
    /// At least one slot, or a request with an adapter would wait for ever.
    pub(super) fn new(slots: u32) -> Self {
        Self {
            slots: slots.max(1) as usize,
            resident: Vec::new(),
        }
    }

    /// Whether a batch that uses `active` can also use `name`.
    pub(super) fn fits(&self, active: &[Arc<str>], name: &Arc<str>) -> bool {
        active.contains(name) || active.len() < self.slots
    }

    /// Notes that a batch with the adapters `active` uses `name`. True if it had to be loaded.
    pub(super) fn touch(&mut self, active: &[Arc<str>], name: &Arc<str>) -> bool {
        let at = self.resident.iter().position(|other| other == name);
        if let Some(at) = at {
            self.resident.remove(at);
        } else if self.resident.len() >= self.slots {
            let idle = self.resident.iter().position(|old| !active.contains(old));
            self.resident.remove(idle.unwrap_or(0));
        }
        self.resident.push(name.clone());
        at.is_none()
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.resident.retain(|other| other.as_ref() != name);
    }
}
