//! Bodies of the sidecar's own calls.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// `POST /v1/load_lora_adapter` and `POST /v1/download_model`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fetch {
    pub(crate) lora_name: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) output_dir: Option<PathBuf>,
    /// An object, or the same as text. Credentials may be in it, so it is never shown.
    config: Option<Value>,
    pub(crate) async_download: bool,
}

impl Fetch {
    /// Whether `config` can be read at all.
    pub(crate) fn config_is_valid(&self) -> bool {
        match &self.config {
            None | Some(Value::Null | Value::Object(_)) => true,
            Some(Value::String(text)) => {
                text.is_empty() || serde_json::from_str::<Value>(text).is_ok_and(|v| v.is_object())
            }
            Some(_) => false,
        }
    }
}
