//! Changes to top-level members of a request body.

use std::borrow::Cow;

use smallvec::SmallVec;

/// A top-level member that a connector may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Member {
    /// `stream`
    Stream,
    /// `stream_options`
    StreamOptions,
    /// `max_tokens`
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
    /// `max_output_tokens`
    MaxOutputTokens,
    /// `min_tokens`
    MinTokens,
    /// `n`
    N,
    /// `best_of`
    BestOf,
    /// `kv_transfer_params`
    KvTransferParams,
    /// `bootstrap_room`
    BootstrapRoom,
    /// `bootstrap_host`
    BootstrapHost,
}

/// What happens to one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The member.
    pub member: Member,
    /// What happens to it.
    pub rule: Rule,
}

/// What happens to a member. Values are JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// It goes, if it is there.
    Remove,
    /// It has this value, whether it was there or not.
    Set(Cow<'static, str>),
    /// If it is there it has this value.
    Replace(&'static str),
    /// If it is there and not `null` it has this value.
    ReplaceValue(&'static str),
    /// If it is a larger number it becomes 1.
    AtMostOne,
}

/// Changes of one half, one per member at most.
pub type Changes = SmallVec<[Change; 12]>;

impl Member {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Stream,
        Self::StreamOptions,
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::MaxOutputTokens,
        Self::MinTokens,
        Self::N,
        Self::BestOf,
        Self::KvTransferParams,
        Self::BootstrapRoom,
        Self::BootstrapHost,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::StreamOptions => "stream_options",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::MinTokens => "min_tokens",
            Self::N => "n",
            Self::BestOf => "best_of",
            Self::KvTransferParams => "kv_transfer_params",
            Self::BootstrapRoom => "bootstrap_room",
            Self::BootstrapHost => "bootstrap_host",
        }
    }
}

impl Change {
    pub(crate) fn new(member: Member, rule: Rule) -> Self {
        Self { member, rule }
    }
}
