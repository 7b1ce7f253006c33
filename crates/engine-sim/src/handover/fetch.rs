//! Asking another engine for blocks.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::core::Lease;

/// Both engines are up, or one of them is not: nothing to wait for.
const CONNECT: Duration = Duration::from_secs(5);

/// Why blocks cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{address} does not answer")]
    Unreachable { address: String },
    #[error("{address} does not have the blocks (any more)")]
    Gone { address: String },
    #[error("{address} gave up before the blocks were there")]
    GaveUp { address: String },
}

/// An answer that is held open.
struct Held {
    _body: Incoming,
    _connection: AbortOnDropHandle<()>,
}

/// Asks for the blocks at `path` and waits until they are there; the engine at `host` keeps them
/// as long as the lease lives.
pub(crate) async fn fetch(host: &str, port: u16, path: &str) -> Result<Lease, FetchError> {
    let address = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let opened = tokio::time::timeout(CONNECT, open(&address, path)).await;
    let Ok(Some((response, connection))) = opened else {
        return Err(FetchError::Unreachable { address });
    };
    if response.status() != StatusCode::OK {
        return Err(FetchError::Gone { address });
    }
    let mut body = response.into_body();
    // The first bytes say that the blocks are there, whatever they are.
    match body.frame().await {
        Some(Ok(_)) => Ok(Lease::new(Held {
            _body: body,
            _connection: connection,
        })),
        _ => Err(FetchError::GaveUp { address }),
    }
}

async fn open(
    address: &str,
    path: &str,
) -> Option<(http::Response<Incoming>, AbortOnDropHandle<()>)> {
    let stream = TcpStream::connect(address).await.ok()?;
    let handshake = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.ok()?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "hand-over ended early");
        }
    }));
    let request = Request::get(path).header(http::header::HOST, address);
    let request = request.body(Empty::new()).ok()?;
    let response = sender.send_request(request).await.ok()?;
    Some((response, connection))
}
