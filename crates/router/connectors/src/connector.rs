//! The five connectors.

use std::net::IpAddr;

use kthena_api::model_server::{InferenceEngine, KvConnectorType};
use smallvec::smallvec;

use crate::change::{Change, Changes, Member, Rule};
use crate::transfer::TransferParams;

/// How a prefill pod hands its KV cache to a decode pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connector {
    /// Prefill, then decode; the engines find each other's cache by themselves.
    Http,
    /// As [`Http`](Self::Http), through a cache that both engines share.
    Lmcache,
    /// The prefill answer tells where the cache lies, and the decode request carries that on.
    Nixl,
    /// As [`Nixl`](Self::Nixl), over another transport.
    Mooncake,
    /// Both halves run at once and meet in a room of the prefill pod.
    Sglang,
}

/// In which order the halves are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Decode begins once prefill has answered with success.
    PrefillFirst,
    /// Decode is sent right behind prefill, whose answer only matters if it fails.
    Together,
}

/// What ties the halves of one attempt together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meeting {
    room: u64,
    prefill_host: IpAddr,
}

const PREFILL_PARAMS: &str = r#"{"do_remote_decode":true,"do_remote_prefill":false}"#;

impl Meeting {
    /// A meeting of an attempt whose prefill pod has this address. `random` must be fresh for every attempt; 63 bits
    /// of it become the room, as engines read the number as a signed one.
    pub fn new(random: u64, prefill_host: IpAddr) -> Self {
        Self {
            room: random >> 1,
            prefill_host,
        }
    }

    /// Number of the room, below 2^63.
    pub fn room(&self) -> u64 {
        self.room
    }

    /// Engines build `host:port` of this text, so an IPv6 address stands in brackets.
    fn host(&self) -> String {
        match self.prefill_host {
            IpAddr::V4(address) => format!("\"{address}\""),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        }
    }
}

impl Connector {
    /// The connector of a model server: the configured one, else the one that fits its engine.
    pub fn of(configured: Option<KvConnectorType>, engine: InferenceEngine) -> Self {
        match (configured, engine) {
            (Some(KvConnectorType::Http), _) | (None, InferenceEngine::Vllm) => Self::Http,
            (Some(KvConnectorType::Lmcache), _) => Self::Lmcache,
            (Some(KvConnectorType::Nixl), _) => Self::Nixl,
            (Some(KvConnectorType::Mooncake), _) => Self::Mooncake,
            (None, InferenceEngine::Sglang) => Self::Sglang,
        }
    }

    /// The name in configurations and explanations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Lmcache => "lmcache",
            Self::Nixl => "nixl",
            Self::Mooncake => "mooncake",
            Self::Sglang => "sglang",
        }
    }

    /// In which order the halves are sent.
    pub fn order(self) -> Order {
        match self {
            Self::Sglang => Order::Together,
            _ => Order::PrefillFirst,
        }
    }

    /// Whether the decode half needs [`TransferParams`] out of the prefill half's answer.
    pub fn hands_over_params(self) -> bool {
        matches!(self, Self::Nixl | Self::Mooncake)
    }

    /// How the client's body changes for the prefill half: nothing is streamed and one token is generated.
    /// `is_responses`: the request is one of the Responses API, which bounds the output under another name.
    pub fn prefill(self, meeting: &Meeting, is_responses: bool) -> Changes {
        let mut changes: Changes = smallvec![
            Change::new(Member::Stream, Rule::Remove),
            Change::new(Member::StreamOptions, Rule::Remove),
            Change::new(Member::MaxTokens, Rule::Set("1".into())),
            Change::new(Member::MaxCompletionTokens, Rule::ReplaceValue("1")),
            Change::new(Member::MinTokens, Rule::AtMostOne),
            Change::new(Member::N, Rule::Replace("1")),
            Change::new(Member::BestOf, Rule::Replace("1")),
        ];
        if is_responses {
            changes.push(Change::new(Member::MaxOutputTokens, Rule::Set("1".into())));
        }
        match self {
            Self::Http | Self::Lmcache => {}
            Self::Nixl | Self::Mooncake => changes.push(Change::new(
                Member::KvTransferParams,
                Rule::Set(PREFILL_PARAMS.into()),
            )),
            Self::Sglang => changes.push(room(meeting)),
        }
        changes
    }

    /// How the client's body changes for the decode half. `params` is what the prefill answer held, for a connector
    /// that [hands it over](Self::hands_over_params).
    pub fn decode(self, meeting: &Meeting, params: Option<TransferParams>) -> Changes {
        match self {
            Self::Http | Self::Lmcache => Changes::new(),
            Self::Nixl | Self::Mooncake => {
                let params = params.unwrap_or_default().into_text();
                smallvec![Change::new(
                    Member::KvTransferParams,
                    Rule::Set(params.into())
                )]
            }
            Self::Sglang => smallvec![
                room(meeting),
                Change::new(Member::BootstrapHost, Rule::Set(meeting.host().into())),
            ],
        }
    }
}

fn room(meeting: &Meeting) -> Change {
    let room = Rule::Set(meeting.room.to_string().into());
    Change::new(Member::BootstrapRoom, room)
}

#[cfg(test)]
mod tests;
