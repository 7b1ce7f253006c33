//! Free blocks in the order they became free: a list threaded through the blocks themselves, so
//! that a block leaves its middle without a search.

use super::{Block, BlockId};

/// A block's neighbours in the list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Links {
    before: Option<BlockId>,
    after: Option<BlockId>,
}

/// The list's ends; the oldest block is at the front.
#[derive(Debug, Default)]
pub(super) struct FreeList {
    front: Option<BlockId>,
    back: Option<BlockId>,
    len: u32,
}

impl FreeList {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn push_back(&mut self, blocks: &mut [Block], id: BlockId) {
        let before = self.back.replace(id);
        blocks[id as usize].links = Links {
            before,
            after: None,
        };
        match before {
            Some(last) => blocks[last as usize].links.after = Some(id),
            None => self.front = Some(id),
        }
        self.len += 1;
    }

    pub(super) fn pop_front(&mut self, blocks: &mut [Block]) -> Option<BlockId> {
        let id = self.front?;
        self.unlink(blocks, id);
        Some(id)
    }

    /// Takes out a block that is in the list.
    pub(super) fn unlink(&mut self, blocks: &mut [Block], id: BlockId) {
        let Links { before, after } = blocks[id as usize].links;
        match before {
            Some(before) => blocks[before as usize].links.after = after,
            None => self.front = after,
        }
        match after {
            Some(after) => blocks[after as usize].links.before = before,
            None => self.back = before,
        }
        self.len -= 1;
    }
}
