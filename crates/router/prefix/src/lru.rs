//! What one pod has, in order of use.

use crate::owners::KeyMap;

/// No node.
const NONE: u32 = u32::MAX;

/// Keys of a pod, those used last first.
#[derive(Debug)]
pub(crate) struct Lru {
    by_key: KeyMap<u32>,
    nodes: Vec<Node>,
    first: u32,
    last: u32,
    /// Nodes without content, linked by `older`.
    free: u32,
}

#[derive(Debug)]
struct Node {
    key: u64,
    model: u32,
    /// The record that brought it, and the last that used it.
    born: u32,
    used: u32,
    newer: u32,
    older: u32,
}

/// A key that was put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evicted {
    pub(crate) key: u64,
    pub(crate) model: u32,
}

impl Default for Lru {
    fn default() -> Self {
        Self {
            by_key: KeyMap::default(),
            nodes: Vec::new(),
            first: NONE,
            last: NONE,
            free: NONE,
        }
    }
}

impl Lru {
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Makes `key` the one used last, by the record `stamp`. True if it is new.
    pub(crate) fn touch(&mut self, key: u64, model: u32, stamp: u32) -> bool {
        if let Some(&at) = self.by_key.get(&key) {
            self.nodes[at as usize].used = stamp;
            if self.first != at {
                self.unlink(at);
                self.push_first(at);
            }
            return false;
        }
        let node = Node {
            key,
            model,
            born: stamp,
            used: stamp,
            newer: NONE,
            older: NONE,
        };
        let at = self.take_node(node);
        self.by_key.insert(key, at);
        self.push_first(at);
        true
    }

    /// Puts out the key that was not used for longest.
    pub(crate) fn evict(&mut self) -> Option<Evicted> {
        let node = self.nodes.get(self.last as usize)?;
        let evicted = Evicted {
            key: node.key,
            model: node.model,
        };
        self.remove(evicted.key);
        Some(evicted)
    }

    /// Takes `key` out if the record `stamp` brought it and nobody used it since.
    pub(crate) fn take_back(&mut self, key: u64, stamp: u32) -> bool {
        let Some(&at) = self.by_key.get(&key) else {
            return false;
        };
        let node = &self.nodes[at as usize];
        let own = node.born == stamp && node.used == stamp;
        if own {
            self.remove(key);
        }
        own
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> {
        self.by_key.keys().copied()
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let bucket = size_of::<(u64, u32)>() + 1;
        self.by_key.capacity() * 8 / 7 * bucket + self.nodes.capacity() * size_of::<Node>()
    }

    fn remove(&mut self, key: u64) {
        let Some(at) = self.by_key.remove(&key) else {
            return;
        };
        self.unlink(at);
        self.nodes[at as usize].older = self.free;
        self.free = at;
    }

    fn take_node(&mut self, node: Node) -> u32 {
        let at = self.free;
        if let Some(slot) = self.nodes.get_mut(at as usize) {
            self.free = slot.older;
            *slot = node;
            return at;
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    fn push_first(&mut self, at: u32) {
        let before = self.first;
        let node = &mut self.nodes[at as usize];
        node.newer = NONE;
        node.older = before;
        match self.nodes.get_mut(before as usize) {
            Some(before) => before.newer = at,
            None => self.last = at,
        }
        self.first = at;
    }

    fn unlink(&mut self, at: u32) {
        let Node { newer, older, .. } = self.nodes[at as usize];
        match self.nodes.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.first = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.last = newer,
        }
    }
}
