//! Addresses of pods: one of a range for each, the same again for a pod of the same name if it is free.
//!
//! A controller that replaces a pod gives the new one the old name, and its peers were started with the old
//! address in their arguments; so the place in the range follows from the name.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

/// The addresses a node may give to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: u32,
    count: u32,
}

impl AddressRange {
    /// The addresses of `network`/`prefix` but for its first and last; `None` for a range that is empty, too
    /// long a prefix, or inside 127.0.0.0/24, where other programs of the machine listen.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Option<Self> {
        if !(8..=29).contains(&prefix) {
            return None;
        }
        let size = 1_u32 << (32 - u32::from(prefix));
        let base = network.to_bits() & !(size - 1);
        let range = Self {
            first: base + 1,
            count: size - 2,
        };
        let reserved = Ipv4Addr::new(127, 0, 0, 0).to_bits();
        let clear = range.first > reserved + 255 || range.first + range.count <= reserved;
        clear.then_some(range)
    }

    /// Parses `a.b.c.d/n`.
    pub fn parse(text: &str) -> Option<Self> {
        let (network, prefix) = text.split_once('/')?;
        Self::new(network.parse().ok()?, prefix.parse().ok()?)
    }

    /// Whether the range has this address.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address
            .to_bits()
            .checked_sub(self.first)
            .is_some_and(|offset| offset < self.count)
    }

    /// The first address.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first)
    }

    /// The length of the network's prefix.
    pub fn prefix(&self) -> u32 {
        (self.count + 1).leading_zeros()
    }

    /// Whether the addresses are only for this machine by their nature.
    pub fn is_loopback(&self) -> bool {
        self.first().is_loopback()
    }

    fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first + offset % self.count)
    }
}

impl Default for AddressRange {
    /// 127.64.0.0/10.
    fn default() -> Self {
        let size = 1 << 22;
        Self {
            first: Ipv4Addr::new(127, 64, 0, 0).to_bits() + 1,
            count: size - 2,
        }
    }
}

/// Which pod has which address.
#[derive(Debug, Clone)]
pub struct AddressPool {
    range: AddressRange,
    owners: BTreeMap<Ipv4Addr, String>,
}

impl AddressPool {
    /// All addresses free.
    pub fn new(range: AddressRange) -> Self {
        Self {
            range,
            owners: BTreeMap::new(),
        }
    }

    /// Gives `uid` an address that nobody has; the first choice follows from `name`.
    pub fn assign(&mut self, uid: &str, name: &str) -> Option<Ipv4Addr> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let start =
            u32::try_from(hasher.finish() % u64::from(self.range.count)).unwrap_or_default();
        let free = (0..self.range.count)
            .map(|step| self.range.nth(start + step))
            .find(|address| !self.owners.contains_key(address))?;
        self.owners.insert(free, uid.to_owned());
        Some(free)
    }

    /// Keeps an address that `uid` had before a restart; false if another pod has it.
    pub fn keep(&mut self, uid: &str, address: Ipv4Addr) -> bool {
        self.owners.entry(address).or_insert_with(|| uid.to_owned()) == uid
    }

    /// Takes back the address of `uid`, if it has one.
    pub fn release(&mut self, uid: &str) {
        self.owners.retain(|_, owner| owner != uid);
    }
}
