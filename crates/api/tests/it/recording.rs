//! Writes of the six kinds and what a real kube-apiserver (v1.36.3) made of them.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Recording {
    cases: Vec<Case>,
}

/// One write: a create, or an update of `old`.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) object: Value,
    pub(crate) old: Option<Value>,
    /// The object as it was stored; `None` if it was refused.
    pub(crate) stored: Option<Value>,
    /// Field, reason and message of each cause of the refusal.
    #[serde(default)]
    pub(crate) causes: Vec<(String, String, String)>,
}

pub(crate) fn cases() -> Vec<Case> {
    let recording: Recording =
        serde_json::from_str(include_str!("real_server.json")).expect("is a recording");
    recording.cases
}
