//! One client's connection: requests in, answers out, one after the other.

mod client;
mod exchange;
mod forward;
mod inference;
mod received;
mod reply;

use std::sync::Arc;

use fastrand::Rng;
use tokio::net::TcpStream;

use crate::http1::request::{BadHead, RequestHead};
use crate::watchdog::Watchdog;
use crate::worker::Worker;
use client::Client;
pub(crate) use received::Received;
use reply::Reply;

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Models, health, and metrics if so configured.
    Inference,
    /// Metrics only.
    Metrics,
}

/// Whether the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    KeepAlive,
    /// After the client has had a chance to read what was sent.
    Close,
    /// At once, so that the client sees a broken answer.
    Abort,
}

struct Connection {
    client: Client,
    worker: Arc<Worker>,
    service: Service,
    rng: Rng,
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    stream: TcpStream,
    service: Service,
    worker: Arc<Worker>,
    watchdog: Arc<Watchdog>,
) {
    // Without it the pieces of a stream wait for acknowledgements; a socket that refuses works all the same.
    let _ = stream.set_nodelay(true);
    let mut connection = Connection {
        client: Client::new(stream, watchdog),
        worker,
        service,
        rng: Rng::new(),
    };
    loop {
        let next = match connection.head().await {
            Ok(Some(head)) => connection.request(head).await,
            Ok(None) => return,
            Err(bad) => connection.refuse(bad).await,
        };
        match next {
            Next::KeepAlive => {}
            Next::Close => return connection.client.linger().await,
            Next::Abort => return,
        }
    }
}

impl Connection {
    /// The head of the next request; `None` if the client closes or breaks off.
    async fn head(&mut self) -> Result<Option<RequestHead>, BadHead> {
        let limits = &self.worker.shared.limits;
        if self.client.received().is_empty() {
            self.client.watchdog().arm(limits.idle);
            self.client.watchdog().set_between_requests(true);
            if self.client.fill().await.unwrap_or(0) == 0 {
                return Ok(None);
            }
        }
        self.client.watchdog().set_between_requests(false);
        self.client.watchdog().arm(limits.head_time);
        loop {
            if let Some(head) = RequestHead::parse(self.client.received(), limits.head)? {
                self.client.watchdog().disarm();
                return Ok(Some(head));
            }
            if self.client.fill().await.unwrap_or(0) == 0 {
                return Ok(None);
            }
        }
    }

    async fn refuse(&mut self, bad: BadHead) -> Next {
        let message = match bad {
            BadHead::Malformed => "malformed request",
            BadHead::TooLarge => "request header fields too large",
            BadHead::Ambiguous => "ambiguous message length",
        };
        self.send(&Reply::text(bad.status(), message), false, false)
            .await
    }

    async fn request(&mut self, head: RequestHead) -> Next {
        let buffer = self.client.received();
        let (path, is_get) = (head.path(buffer), head.method(buffer) == "GET");
        let inference = self.service == Service::Inference;
        if inference && path.starts_with("/v1/") {
            return Box::pin(self.inference(head)).await;
        }
        let reply = match path {
            "/healthz" if inference && is_get => Reply::json(200, r#"{"message":"ok"}"#),
            "/readyz" if inference && is_get => self.readiness(),
            "/metrics" if is_get && (!inference || self.worker.shared.expose_metrics) => {
                let gzip = head
                    .fields
                    .all(buffer, "accept-encoding")
                    .any(reply::accepts_gzip);
                Reply::exposition(&self.worker.shared.exposition(), gzip)
            }
            "/v1" if inference => Reply::redirect(head.target(buffer), is_get),
            _ => Reply::text(404, "404 page not found"),
        };
        // The body of a request that nobody reads would be taken for the next request.
        let keep_alive = head.keep_alive && !head.has_body();
        let size = head.size;
        let next = self.send(&reply, keep_alive, head.old).await;
        self.client.consume(size);
        next
    }

    fn readiness(&self) -> Reply {
        let shared = &self.worker.shared;
        if shared.is_synced() && !shared.is_draining() {
            Reply::json(200, r#"{"message":"router is ready"}"#)
        } else {
            Reply::json(503, r#"{"message":"router is not ready"}"#)
        }
    }

    async fn send(&mut self, reply: &Reply, keep_alive: bool, old: bool) -> Next {
        let keep_alive = keep_alive && !self.worker.shared.is_draining();
        let limit = self.worker.shared.limits.idle;
        match self
            .client
            .send(&reply.encode(keep_alive, old), limit)
            .await
        {
            Ok(()) if keep_alive => Next::KeepAlive,
            Ok(()) => Next::Close,
            Err(_) => Next::Abort,
        }
    }
}
