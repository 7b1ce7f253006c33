//! Adapters and models: fetched here, loaded by the engine.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::models::Fetch;
use crate::server::{Failure, Sidecar, parsed};

const LOAD: &str = "/v1/load_lora_adapter";
const UNLOAD: &str = "/v1/unload_lora_adapter";

impl Sidecar {
    pub(crate) async fn load_adapter(
        State(sidecar): State<Arc<Self>>,
        body: Bytes,
    ) -> Result<Response, Failure> {
        let fetch: Fetch = parsed(&body)?;
        let name = fetch.lora_name.clone().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| missing("lora_name"))?;
        let folder = fetch.output_dir.clone();
        let folder = folder.ok_or_else(|| missing("output_dir"))?;
        check(&fetch)?;
        let source = fetch.source.clone().filter(|source| !source.is_empty());
        if !fetch.async_download {
            return sidecar
                .fetch_and_load(&name, source.as_deref(), &folder)
                .await;
        }
        let started = json!({
            "status": "started",
            "message": "LoRA adapter download and load started in background",
            "lora_name": name,
            "source": source,
            "output_dir": folder,
        });
        tokio::spawn(async move {
            let loaded = sidecar
                .fetch_and_load(&name, source.as_deref(), &folder)
                .await;
            match loaded {
                Ok(_) => tracing::info!(adapter = name, "adapter loaded"),
                Err(failure) => tracing::error!(adapter = name, ?failure, "adapter not loaded"),
            }
        });
        Ok((StatusCode::ACCEPTED, Json(started)).into_response())
    }

    pub(crate) async fn unload_adapter(
        State(sidecar): State<Arc<Self>>,
        body: Bytes,
    ) -> Result<Response, Failure> {
        let body: Value = parsed(&body)?;
        sidecar.ask_engine(UNLOAD, &body).await
    }

    pub(crate) async fn download_model(
        State(sidecar): State<Arc<Self>>,
        body: Bytes,
    ) -> Result<Response, Failure> {
        let fetch: Fetch = parsed(&body)?;
        let source = fetch.source.clone().filter(|source| !source.is_empty());
        let source = source.ok_or_else(|| missing("source"))?;
        let folder = fetch.output_dir.clone();
        let folder = folder.ok_or_else(|| missing("output_dir"))?;
        check(&fetch)?;
        let answer = |status: &str, message: &str| json!({"status": status, "message": message, "source": source, "output_dir": folder});
        if fetch.async_download {
            let started = answer("started", "Model download started in background");
            let (source, folder) = (source.clone(), folder.clone());
            tokio::spawn(async move {
                match sidecar.downloader.fetch(&source, &folder).await {
                    Ok(()) => tracing::info!(source, "model downloaded"),
                    Err(error) => tracing::error!(source, %error, "model not downloaded"),
                }
            });
            return Ok((StatusCode::ACCEPTED, Json(started)).into_response());
        }
        sidecar.download(&source, &folder).await?;
        let done = answer("completed", "Model download completed successfully");
        Ok(Json(done).into_response())
    }

    async fn fetch_and_load(
        &self,
        name: &str,
        source: Option<&str>,
        folder: &Path,
    ) -> Result<Response, Failure> {
        if let Some(source) = source {
            self.download(source, folder).await?;
        }
        let body = json!({"lora_name": name, "lora_path": folder});
        self.ask_engine(LOAD, &body).await
    }

    async fn download(&self, source: &str, folder: &Path) -> Result<(), Failure> {
        let fetched = self.downloader.fetch(source, folder).await;
        fetched.map_err(|error| {
            let status = if error.is_callers() {
                StatusCode::BAD_REQUEST
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            };
            Failure::new(status, format!("Download failed: {error}"))
        })
    }

    /// Passes a call on; the engine's status and JSON come back.
    async fn ask_engine(&self, path: &str, body: &Value) -> Result<Response, Failure> {
        let failed = |error: reqwest::Error| {
            let detail = format!("The engine does not answer: {}", error.without_url());
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        };
        let url = format!("{}{path}", self.config.engine_url);
        let response = self.client.post(url).json(body).send().await;
        let response = response.map_err(failed)?;
        let status = response.status();
        let text = response.bytes().await.map_err(failed)?;
        let text = String::from_utf8_lossy(&text);
        if status.as_u16() >= 400 {
            let detail = format!("HTTP {}: {text}", status.as_u16());
            return Err(Failure::new(status, detail));
        }
        let answer = serde_json::from_str(&text).unwrap_or_else(|_| json!({"message": text}));
        Ok((status, Json::<Value>(answer)).into_response())
    }
}

fn missing(parameter: &str) -> Failure {
    Failure::bad_request(format!("Missing required parameter: {parameter}"))
}

fn check(fetch: &Fetch) -> Result<(), Failure> {
    if fetch.config_is_valid() {
        Ok(())
    } else {
        Err(Failure::bad_request("Invalid configuration JSON format."))
    }
}
