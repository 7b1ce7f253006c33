//! The HTTPS listener.
//!
//! # Invariants
//!
//! - A connection that says nothing, or not all, in time is closed.
//! - After shutdown nothing is taken any more, open requests get their grace, and nothing outlives [`serve`].

use std::convert::Infallible;
use std::sync::PoisonError;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kthena_process::Connections;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::review::{self, Answer, Endpoint};
use crate::{Acceptor, WebhookConfig};

/// Connections served at once.
const CONNECTIONS: usize = 256;
/// Largest request: an object and its old form, each at most what etcd stores, as JSON.
const LARGEST: usize = 16 << 20;

/// Serves until `shutdown`, then drains.
pub(crate) async fn serve(
    listener: TcpListener,
    config: &WebhookConfig,
    acceptor: &Acceptor,
    shutdown: &CancellationToken,
) {
    let connections = Connections {
        most: CONNECTIONS,
        drain: config.grace,
    };
    let (endpoints, patience) = (config.endpoints, config.timeout);
    let converse = |stream| {
        let tls = acceptor
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let shutdown = shutdown.clone();
        async move {
            if let Some(tls) = tls {
                converse(stream, tls, endpoints, patience, shutdown).await;
            }
        }
    };
    connections.serve(listener, shutdown, converse).await;
}

async fn converse(
    stream: TcpStream,
    tls: TlsAcceptor,
    endpoints: &'static [Endpoint],
    patience: Duration,
    shutdown: CancellationToken,
) {
    let stream = match timeout(patience, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let service = service_fn(move |request| async move {
        let answer = timeout(patience, respond(endpoints, request)).await;
        let answer = answer.unwrap_or_else(|_| {
            Answer::text(
                StatusCode::REQUEST_TIMEOUT,
                "the request did not arrive in time",
            )
        });
        Ok::<_, Infallible>(reply(answer))
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection of the webhook ended early");
    }
}

async fn respond(endpoints: &[Endpoint], request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if path == "/healthz" {
        return Answer::text(StatusCode::OK, "ok");
    }
    let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.path == path) else {
        return Answer::text(StatusCode::NOT_FOUND, "404 page not found");
    };
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    match Limited::new(request.into_body(), LARGEST).collect().await {
        Ok(body) => review::answer(*endpoint, &content_type, &body.to_bytes()),
        Err(error) => Answer::text(
            StatusCode::BAD_REQUEST,
            format!("failed to read request body: {error}"),
        ),
    }
}

fn reply(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let content_type = http::HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
