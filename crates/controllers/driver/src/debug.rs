//! Answers what the controller believes, on loopback only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::DriverError;
use crate::pass::Desk;

/// A debug server that listens already.
pub(crate) struct DebugServer {
    listener: TcpListener,
}

impl DebugServer {
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, DriverError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| DriverError::DebugListen { address, source })?;
        Ok(Self { listener })
    }

    pub(crate) async fn serve(self, desk: Arc<Desk>, stop: CancellationToken) {
        let ended = axum::serve(self.listener, router(desk))
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = ended {
            tracing::error!(%error, "debug server ended");
        }
    }
}

pub(crate) fn router(desk: Arc<Desk>) -> Router {
    let dump = move || {
        let desk = Arc::clone(&desk);
        async move { answer(serde_json::to_string(&desk.dump())) }
    };
    Router::new().route("/debug/modelserving/cache", get(dump).fallback(not_allowed))
}

fn answer(dump: Result<String, serde_json::Error>) -> Response {
    match dump {
        Ok(dump) => ([(header::CONTENT_TYPE, "application/json")], dump).into_response(),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Failed to dump datastore cache\n",
        )
            .into_response(),
    }
}

async fn not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed\n").into_response()
}

#[cfg(test)]
mod tests;
