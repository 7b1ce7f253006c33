//! `/v1/models`, and adapters that come and go.

use http::StatusCode;
use serde::Deserialize;

use super::Server;
use super::json::Object;
use super::respond::{Answer, ApiError, detail, json, text};
use super::validate::{self, decode};
use crate::config::{Adapter, Dialect};

#[derive(Debug, Deserialize)]
struct AdapterRequest {
    #[serde(default)]
    lora_name: Option<String>,
    #[serde(default)]
    lora_path: Option<String>,
    #[serde(default)]
    load_inplace: Option<bool>,
}

/// One entry of the list.
struct Card<'a> {
    id: &'a str,
    root: &'a str,
    parent: Option<&'a str>,
    max_model_len: Option<u32>,
}

impl Server {
    pub(crate) fn models(&self) -> Answer {
        let config = &self.handle.shared.config;
        let adapters = self
            .handle
            .shared
            .with_adapters(|adapters| adapters.clone());
        let bases = config.served_names.iter().map(|name| Card {
            id: name,
            root: &config.model,
            parent: None,
            max_model_len: Some(config.batch.max_model_len),
        });
        let loaded = adapters.iter().map(|adapter| Card {
            id: &adapter.name,
            root: &adapter.path,
            parent: adapter.base.as_deref().or(Some(config.served_name())),
            max_model_len: None,
        });
        let mut out = Vec::with_capacity(1024);
        Object::new(&mut out)
            .put("object", "list")
            .list("data", bases.chain(loaded), |out, card| {
                self.card(out, &card);
            })
            .end();
        json(StatusCode::OK, out)
    }

    fn card(&self, out: &mut Vec<u8>, card: &Card<'_>) {
        let created = crate::core::seconds_since_1970() as i64;
        let dialect = self.handle.shared.config.dialect;
        let object = Object::new(out)
            .put("id", card.id)
            .put("object", "model")
            .put("created", created);
        if dialect == Dialect::Sglang {
            return object
                .put("owned_by", "sglang")
                .put("root", card.root)
                .put("parent", card.parent)
                .put("max_model_len", card.max_model_len)
                .end();
        }
        let permission = self.random_id("modelperm-");
        object
            .put("owned_by", "vllm")
            .put("root", card.root)
            .put("parent", card.parent)
            .put("max_model_len", card.max_model_len)
            .list("permission", [permission], |out, id| {
                Object::new(out)
                    .put("id", id)
                    .put("object", "model_permission")
                    .put("created", created)
                    .put("allow_create_engine", false)
                    .put("allow_sampling", true)
                    .put("allow_logprobs", true)
                    .put("allow_search_indices", false)
                    .put("allow_view", true)
                    .put("allow_fine_tuning", false)
                    .put("organization", "*")
                    .nulls(&["group"])
                    .put("is_blocking", false)
                    .end();
            })
            .end();
    }

    pub(crate) fn load_adapter(&self, body: &[u8]) -> Result<Answer, ApiError> {
        if !self.handle.shared.config.adapters_enabled {
            return Ok(detail(StatusCode::NOT_FOUND));
        }
        let request: AdapterRequest = decode(body, validate::NONE)?;
        let (Some(name), Some(path)) = (request.lora_name, request.lora_path) else {
            let message = "Both 'lora_name' and 'lora_path' must be provided.";
            return Err(ApiError::bad_request(message));
        };
        let in_place = request.load_inplace.unwrap_or(false);
        let known = self.handle.shared.with_adapters(|adapters| {
            let at = adapters
                .iter()
                .position(|adapter| adapter.name.as_ref() == name);
            let adapter = Adapter {
                name: name.as_str().into(),
                path,
                base: None,
            };
            match at {
                Some(at) if in_place => adapters[at] = adapter,
                Some(_) => return true,
                None => adapters.push(adapter),
            }
            false
        });
        if known {
            let message = format!("The lora adapter '{name}' has already been loaded.");
            return Err(ApiError::bad_request(message).at("lora_name"));
        }
        Ok(self.adapter_answer(&format!(
            "Success: LoRA adapter '{name}' added successfully."
        )))
    }

    pub(crate) async fn unload_adapter(&self, body: &[u8]) -> Result<Answer, ApiError> {
        if !self.handle.shared.config.adapters_enabled {
            return Ok(detail(StatusCode::NOT_FOUND));
        }
        let request: AdapterRequest = decode(body, validate::NONE)?;
        let Some(name) = request.lora_name else {
            return Err(ApiError::bad_request("'lora_name' must be provided."));
        };
        let found = self.handle.shared.with_adapters(|adapters| {
            let before = adapters.len();
            adapters.retain(|adapter| adapter.name.as_ref() != name);
            adapters.len() < before
        });
        if !found {
            let message = format!("The lora adapter '{name}' cannot be found.");
            return Err(ApiError::new(StatusCode::NOT_FOUND, message).at("lora_name"));
        }
        self.handle.forget_adapter(&name).await;
        Ok(self.adapter_answer(&format!(
            "Success: LoRA adapter '{name}' removed successfully."
        )))
    }

    fn adapter_answer(&self, message: &str) -> Answer {
        if self.handle.shared.config.dialect == Dialect::Vllm {
            return text(StatusCode::OK, message.to_owned());
        }
        let mut loaded = std::collections::BTreeMap::new();
        self.handle.shared.with_adapters(|adapters| {
            for adapter in adapters.iter() {
                loaded.insert(adapter.name.to_string(), adapter.path.clone());
            }
        });
        let mut out = Vec::new();
        Object::new(&mut out)
            .put("success", true)
            .put("error_message", "")
            .put("loaded_adapters", loaded)
            .end();
        json(StatusCode::OK, out)
    }
}
