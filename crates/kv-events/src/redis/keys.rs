//! Names in Redis.
//!
//! - `matrix:kv:block:<model>@<standard hash>`: a hash of owners with the second each was last
//!   heard to hold the block. Routers read this.
//! - `<engine>:kv:block:<owner>@<engine hash>`: the standard hash. Earlier sidecars look up here what
//!   a removed block was.
//! - `kthena:kv:owner:<engine>:<owner>`: a hash of all engine hashes of one owner, so that they are
//!   found without a search.
//! - `kthena:kv:seen:<engine>:<owner>`: a hash of ranks with the number of their next message, so
//!   that a new sidecar knows whether it missed any.

use crate::events::EngineHash;

/// Names of one owner's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    engine: String,
    model: String,
    owner: String,
}

impl Keys {
    /// `engine` is `vllm` or `sglang`, `owner` is `<pod>.<namespace>`, `model` the served name.
    pub fn new(
        engine: impl Into<String>,
        model: impl Into<String>,
        owner: impl Into<String>,
    ) -> Self {
        Self {
            engine: engine.into(),
            model: model.into(),
            owner: owner.into(),
        }
    }

    /// The field of this owner.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Who holds a block of these tokens.
    pub fn block(&self, standard: u64) -> String {
        format!("matrix:kv:block:{}@{standard}", self.model)
    }

    /// Which tokens a block of this engine has.
    pub fn mapping(&self, hash: &EngineHash) -> String {
        format!("{}:kv:block:{}@{hash}", self.engine, self.owner)
    }

    /// All blocks of this owner.
    pub fn blocks_of_owner(&self) -> String {
        format!("kthena:kv:owner:{}:{}", self.engine, self.owner)
    }

    /// How far this owner's messages were followed.
    pub fn seen(&self) -> String {
        format!("kthena:kv:seen:{}:{}", self.engine, self.owner)
    }

    /// A pattern of all mapping keys of this owner, and of nothing else.
    pub fn mapping_pattern(&self) -> String {
        format!("{}:kv:block:{}@*", self.engine, escaped(&self.owner))
    }

    /// The engine's name for a block in a mapping key.
    pub fn hash_in_mapping(&self, key: &str) -> Option<EngineHash> {
        let rest = key.strip_prefix(self.engine.as_str())?;
        let rest = rest.strip_prefix(":kv:block:")?;
        rest.strip_prefix(self.owner.as_str())?
            .strip_prefix('@')?
            .parse()
            .ok()
    }
}

/// Text that matches only itself in a pattern.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}
