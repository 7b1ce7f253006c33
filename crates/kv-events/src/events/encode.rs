//! From values to the wire, in either layout: the simulated engine speaks through this.

use rmp::encode::{self as mp, ByteBuf};

use super::{Adapter, Batch, EngineHash, KvEvent, Removed, Stored};

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Positional arrays: vLLM before 0.32, SGLang.
    Arrays,
    /// Maps with named fields: vLLM since 0.32.
    #[default]
    Maps,
}

/// Writes one payload. What a batch says was skipped is not written.
pub fn encode(batch: &Batch, layout: Layout) -> Vec<u8> {
    let mut out = Writer {
        out: ByteBuf::new(),
        layout,
    };
    out.array(3);
    let Ok(()) = mp::write_f64(&mut out.out, batch.timestamp);
    out.array(batch.events.len());
    for event in &batch.events {
        match event {
            KvEvent::Stored(stored) => out.stored(stored),
            KvEvent::Removed(removed) => out.removed(removed),
            KvEvent::Cleared => out.event("AllBlocksCleared", 0),
        }
    }
    match batch.rank {
        Some(rank) => out.unsigned(rank.into()),
        None => out.nil(),
    }
    out.out.into_vec()
}

struct Writer {
    out: ByteBuf,
    layout: Layout,
}

// Writing to memory cannot fail, and the buffer's error type says so: there is no other arm.
impl Writer {
    fn stored(&mut self, stored: &Stored) {
        self.event("BlockStored", 9);
        self.key("block_hashes");
        self.hashes(&stored.hashes);
        self.key("parent_block_hash");
        match &stored.parent {
            Some(parent) => self.hash(parent),
            None => self.nil(),
        }
        self.key("token_ids");
        self.array(stored.tokens.len());
        for &token in &stored.tokens {
            self.unsigned(token.into());
        }
        self.key("block_size");
        self.unsigned(stored.block_size.into());
        self.key("lora_id");
        match stored.adapter.as_ref().and_then(|adapter| adapter.id) {
            Some(id) => {
                let Ok(_) = mp::write_sint(&mut self.out, id);
            }
            None => self.nil(),
        }
        self.key("medium");
        self.text(stored.medium.as_deref());
        self.key("lora_name");
        let name = stored.adapter.as_ref().and_then(Adapter::name);
        self.text(name);
        self.key("extra_keys");
        self.extra_keys(stored, name);
        self.key("group_idx");
        self.unsigned(stored.group.into());
    }

    fn removed(&mut self, removed: &Removed) {
        self.event("BlockRemoved", 3);
        self.key("block_hashes");
        self.hashes(&removed.hashes);
        self.key("medium");
        self.text(removed.medium.as_deref());
        self.key("group_idx");
        self.unsigned(removed.group.into());
    }

    /// What a key was is not kept, only that there was one; engines list the adapter's name too.
    fn extra_keys(&mut self, stored: &Stored, adapter: Option<&str>) {
        let blocks = stored.hashes.len().max(usize::from(stored.keyed));
        let keys = usize::from(adapter.is_some()) + usize::from(stored.keyed);
        self.array(blocks);
        for _ in 0..blocks {
            if keys == 0 {
                self.nil();
                continue;
            }
            self.array(keys);
            if adapter.is_some() {
                self.text(adapter);
            }
            if stored.keyed {
                self.unsigned(0);
            }
        }
    }

    /// Opens an event with `fields` fields beside its kind.
    fn event(&mut self, kind: &str, fields: u32) {
        match self.layout {
            Layout::Arrays => self.array(fields as usize + 1),
            Layout::Maps => {
                let Ok(_) = mp::write_map_len(&mut self.out, fields + 1);
                self.text(Some("type"));
            }
        }
        self.text(Some(kind));
    }

    fn key(&mut self, name: &str) {
        if self.layout == Layout::Maps {
            self.text(Some(name));
        }
    }

    fn hashes(&mut self, hashes: &[EngineHash]) {
        self.array(hashes.len());
        for hash in hashes {
            self.hash(hash);
        }
    }

    fn hash(&mut self, hash: &EngineHash) {
        match hash {
            EngineHash::Unsigned(hash) => self.unsigned(*hash),
            EngineHash::Negative(hash) => {
                let Ok(_) = mp::write_sint(&mut self.out, *hash);
            }
            EngineHash::Bytes(bytes) => {
                let Ok(()) = mp::write_bin(&mut self.out, bytes);
            }
        }
    }

    fn array(&mut self, len: usize) {
        // What is in memory as values of several bytes each has fewer than four thousand million.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let Ok(_) = mp::write_array_len(&mut self.out, len);
    }

    fn unsigned(&mut self, value: u64) {
        let Ok(_) = mp::write_uint(&mut self.out, value);
    }

    fn text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => {
                let Ok(()) = mp::write_str(&mut self.out, text);
            }
            None => self.nil(),
        }
    }

    fn nil(&mut self) {
        let Ok(()) = mp::write_nil(&mut self.out);
    }
}

impl Adapter {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}
