//! Puts the API on a TCP listener: TLS or plain, HTTP/1.1 or HTTP/2, each recognised by its first bytes.
//!
//! # Invariants
//!
//! - A request from the network is answered only if it carries the bearer token; health and version are open.
//! - The number of connections is bounded; further ones wait in the listen queue.
//! - After `shutdown` no connection is taken, running requests get [`DRAIN`], and nothing outlives [`serve`].

use std::{sync::Arc, time::Duration};

use http::{Request, Response, header::AUTHORIZATION};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use kthena_apiserver_objects::ApiError;
use kthena_process::Connections;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{answer, answer::Body, service::ApiService};

/// Connections served at once.
const MAX_CONNECTIONS: usize = 1024;

/// How long a client may take to say what it wants.
const GREETING: Duration = Duration::from_secs(15);

/// How long running requests may go on after shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a connection needs.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) service: ApiService,
    pub(crate) token: Arc<str>,
    pub(crate) tls: TlsAcceptor,
}

/// Serves until `shutdown`, then drains.
pub(crate) async fn serve(listener: TcpListener, endpoint: Endpoint, shutdown: CancellationToken) {
    let connections = Connections {
        most: MAX_CONNECTIONS,
        drain: DRAIN,
    };
    let greet = |stream| greet(stream, endpoint.clone(), shutdown.clone());
    connections.serve(listener, &shutdown, greet).await;
}

/// Tells TLS from plain HTTP by the first byte.
async fn greet(stream: TcpStream, endpoint: Endpoint, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it began");
        return;
    }
    let mut first = [0];
    let first = match timeout(GREETING, stream.peek(&mut first)).await {
        Ok(Ok(1)) => first[0],
        _ => return,
    };
    if first != TLS_HANDSHAKE {
        return converse(stream, endpoint, shutdown).await;
    }
    match timeout(GREETING, endpoint.tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, endpoint, shutdown).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn converse<S>(stream: S, endpoint: Endpoint, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = tower::service_fn(move |request| {
        let endpoint = endpoint.clone();
        async move { Ok::<_, std::convert::Infallible>(admit(endpoint, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(GREETING * 20);
    builder.http2().timer(TokioTimer::new());
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

async fn admit(endpoint: Endpoint, request: Request<Incoming>) -> Response<Body> {
    let open = matches!(
        request.uri().path(),
        "/healthz" | "/livez" | "/readyz" | "/version"
    );
    if !open && !is_authorized(&request, &endpoint.token) {
        return answer::error(&ApiError::Unauthorized);
    }
    endpoint.service.respond(request).await
}

fn is_authorized<B>(request: &Request<B>, token: &str) -> bool {
    let Some(given) = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
    else {
        return false;
    };
    let (given, token) = (given.trim().as_bytes(), token.as_bytes());
    // Every byte is looked at, so that the time taken does not tell how far a guess was right.
    let differences = given.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == token.len() && differences == 0
}
