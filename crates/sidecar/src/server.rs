//! Paths and their answers. Errors are `{"detail": "…"}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::download::Downloader;
use crate::rename::rename;
use crate::{SidecarConfig, SidecarError};

/// Largest metric text taken from an engine, bytes.
const LARGEST_METRICS: usize = 32 << 20;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) config: SidecarConfig,
    pub(crate) client: reqwest::Client,
    pub(crate) downloader: Downloader,
}

pub(crate) fn router(config: SidecarConfig) -> Result<Router, SidecarError> {
    let client = reqwest::Client::builder()
        .timeout(config.request_timeout)
        .build()?;
    let downloader = Downloader::new(config.download_roots.clone())?;
    let sidecar = Arc::new(Sidecar {
        config,
        client,
        downloader,
    });
    Ok(Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/load_lora_adapter", post(Sidecar::load_adapter))
        .route("/v1/unload_lora_adapter", post(Sidecar::unload_adapter))
        .route("/v1/download_model", post(Sidecar::download_model))
        .fallback(async || Failure::new(StatusCode::NOT_FOUND, "Not Found"))
        .method_not_allowed_fallback(async || {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        })
        .with_state(sidecar))
}

async fn health() -> Json<Value> {
    Json(json!({"status": "healthy", "service": "runtime"}))
}

async fn metrics(State(sidecar): State<Arc<Sidecar>>) -> Result<Response, Failure> {
    let config = &sidecar.config;
    let url = format!("{}{}", config.engine_url, config.metrics_path);
    let text = sidecar.text_of(&url).await.map_err(|reason| {
        let detail = format!("Failed to fetch metrics from engine: {reason}");
        Failure::new(StatusCode::BAD_GATEWAY, detail)
    })?;
    let renamed = rename(config.engine, &text).map_err(|error| {
        let detail = format!("Error processing metrics: {error}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let mut response = Response::new(Body::from(renamed));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

impl Sidecar {
    async fn text_of(&self, url: &str) -> Result<String, String> {
        let told = |error: reqwest::Error| error.without_url().to_string();
        let mut response = self.client.get(url).send().await.map_err(told)?;
        if !response.status().is_success() {
            return Err(format!("HTTP {}", response.status().as_u16()));
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if text.len() + chunk.len() > LARGEST_METRICS {
                return Err(format!("more than {LARGEST_METRICS} bytes"));
            }
            text.extend_from_slice(&chunk);
        }
        String::from_utf8(text).map_err(|_| "not UTF-8".to_owned())
    }
}

/// An answer that says what went wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    detail: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"detail": self.detail}))).into_response()
    }
}

/// A JSON body, whatever its content type says.
pub(crate) fn parsed<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("Invalid JSON: {error}")))
}
