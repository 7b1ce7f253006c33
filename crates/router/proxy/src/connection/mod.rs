//! One client's connection: requests in, answers out, one after the other.

mod client;
mod debug;
mod dispatch;
mod exchange;
mod forward;
mod inference;
mod leg;
mod pair;
mod received;
mod reply;
mod session;
mod waiting;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::FutureExt;
use kthena_router_pipeline::RouteError;

use crate::http1::request::{BadHead, RequestHead};
use crate::http2;
use crate::transport::{Rewound, Transport};
use crate::watchdog::Watchdog;
use crate::worker::Worker;
use client::Client;
pub(crate) use received::Received;
pub(crate) use reply::Reply;

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Models, health, and metrics if so configured.
    Inference,
    /// Health as usual; requests for models are refused.
    Refusal(Refusal),
    /// Metrics only.
    Metrics,
    /// What an operator may look at.
    Debug,
}

/// Why requests for models are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too few descriptors are left.
    Overloaded,
    /// The last requests are being served.
    Draining,
}

/// How long a client that will be refused may take to ask.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

/// Turns given to what sends on the transport's behalf before a broken answer is broken for the client too.
const FLUSH_TURNS: usize = 4;

/// What came in where a request may begin.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every one is a request, and a box would cost each of them an allocation"
)]
enum Incoming {
    Request(RequestHead),
    /// The client speaks HTTP/2 without having said so before.
    Http2,
    /// The client closed or broke off.
    Closed,
    Bad(BadHead),
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

struct Connection<S> {
    client: Client<S>,
    worker: Arc<Worker>,
    service: Service,
    rng: Rng,
    /// The request asks for a head alone, so an answer of the router's own ends with its head.
    head_only: bool,
}

/// Serves a connection to its end.
pub(crate) async fn serve<S: Transport + Send + 'static>(
    stream: S,
    service: Service,
    worker: Arc<Worker>,
    watchdog: Arc<Watchdog>,
) {
    let mut connection = Connection::new(stream, service, worker, watchdog);
    loop {
        let next = match connection.incoming().await {
            Incoming::Request(head) => connection.guarded(head).await,
            Incoming::Http2 => return Box::pin(connection.upgrade()).await,
            Incoming::Closed => return,
            Incoming::Bad(bad) => connection.refuse(bad).await,
        };
        match next {
            Next::KeepAlive => {}
            Next::Close => return connection.client.linger().await,
            Next::Abort => return,
        }
    }
}

/// Serves the one request of a transport that is not used again.
pub(crate) async fn serve_one<S: Transport>(
    stream: S,
    service: Service,
    worker: Arc<Worker>,
    watchdog: Arc<Watchdog>,
) {
    let limit = worker.shared.limits.idle;
    let mut connection = Connection::new(stream, service, worker, watchdog);
    let next = match connection.incoming().await {
        Incoming::Request(head) => connection.guarded(head).await,
        Incoming::Closed => Next::Abort,
        Incoming::Bad(bad) => connection.refuse(bad).await,
        Incoming::Http2 => connection.refuse(BadHead::Malformed).await,
    };
    if next == Next::Abort {
        // A reset overtakes what was handed to the transport and has not left; the task that sends it runs on this
        // thread and needs a turn.
        for _ in 0..FLUSH_TURNS {
            tokio::task::yield_now().await;
        }
    } else {
        connection.client.finish(limit).await;
    }
}

impl<S: Transport> Connection<S> {
    fn new(stream: S, service: Service, worker: Arc<Worker>, watchdog: Arc<Watchdog>) -> Self {
        Self {
            client: Client::new(stream, watchdog),
            worker,
            service,
            rng: Rng::new(),
            head_only: false,
        }
    }

    /// Waits for the head of the next request.
    async fn incoming(&mut self) -> Incoming {
        let limits = &self.worker.shared.limits;
        self.client.expect_request();
        if self.client.received().is_empty() {
            let patience = match self.service {
                Service::Refusal(_) => REFUSED_WAIT.min(limits.idle),
                _ => limits.idle,
            };
            self.client.watchdog().arm(patience);
            self.client.watchdog().set_between_requests(true);
            let read = self.client.fill().await;
            self.client.watchdog().set_between_requests(false);
            self.client.watchdog().disarm();
            if read.unwrap_or(0) == 0 {
                return Incoming::Closed;
            }
        }
        match RequestHead::parse(self.client.received(), limits.head) {
            Ok(Some(head)) => Incoming::Request(head),
            Ok(None) => self.rest_of_head().await,
            Err(bad) => self.not_a_head(bad),
        }
    }

    /// Few heads come in pieces, so only those cost a timer.
    async fn rest_of_head(&mut self) -> Incoming {
        let (limit, time) = {
            let limits = &self.worker.shared.limits;
            (limits.head, limits.head_time)
        };
        let reading = async {
            loop {
                if self.client.fill().await.unwrap_or(0) == 0 {
                    return Incoming::Closed;
                }
                match RequestHead::parse(self.client.received(), limit) {
                    Ok(Some(head)) => return Incoming::Request(head),
                    Ok(None) => {}
                    Err(bad) => return self.not_a_head(bad),
                }
            }
        };
        tokio::time::timeout(time, reading)
            .await
            .unwrap_or(Incoming::Bad(BadHead::TooSlow))
    }

    fn not_a_head(&self, bad: BadHead) -> Incoming {
        let received = self.client.received();
        let shared = received.len().min(http2::PREFACE.len());
        if S::PROTOCOL.is_none() && received[..shared] == http2::PREFACE[..shared] {
            Incoming::Http2
        } else {
            Incoming::Bad(bad)
        }
    }

    /// Serves a request, whatever it does to us.
    async fn guarded(&mut self, head: RequestHead) -> Next {
        let served = AssertUnwindSafe(self.request(head)).catch_unwind().await;
        let Ok(next) = served else {
            tracing::error!("a request panicked; its connection is closed");
            if self.client.is_answering() {
                return Next::Abort;
            }
            return self.send(&Reply::text(500, ""), false, false).await;
        };
        next
    }

    async fn refuse(&mut self, bad: BadHead) -> Next {
        let message = match bad {
            BadHead::Malformed => "malformed request",
            BadHead::TooLarge => "request header fields too large",
            BadHead::Ambiguous => "ambiguous message length",
            BadHead::Host => "a request needs one Host header",
            BadHead::TooSlow => "the request header did not arrive in time",
        };
        self.send(&Reply::text(bad.status(), message), false, false)
            .await
    }

    async fn request(&mut self, head: RequestHead) -> Next {
        let buffer = self.client.received();
        let (path, is_get) = (head.path(buffer), head.method(buffer) == "GET");
        self.head_only = head.method(buffer) == "HEAD";
        let inference = matches!(self.service, Service::Inference | Service::Refusal(_));
        if self.service == Service::Debug {
            return Box::pin(self.debug(head)).await;
        }
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
        if shared.is_ready() {
            Reply::json(200, r#"{"message":"router is ready"}"#)
        } else {
            Reply::json(503, r#"{"message":"router is not ready"}"#)
        }
    }

    /// Whether the connection may wait for another request.
    fn may_stay(&self) -> bool {
        !matches!(self.service, Service::Refusal(_)) && !self.worker.shared.is_draining()
    }

    /// Why requests for models are refused here, if they are.
    fn refusal(&self) -> Option<RouteError> {
        match self.service {
            Service::Refusal(Refusal::Overloaded) => Some(RouteError::Overloaded),
            Service::Refusal(Refusal::Draining) => Some(RouteError::Draining),
            _ => None,
        }
    }

    async fn send(&mut self, reply: &Reply, keep_alive: bool, old: bool) -> Next {
        let keep_alive = keep_alive && self.may_stay();
        let limit = self.worker.shared.limits.idle;
        let bytes = if self.head_only {
            reply.encode_head(keep_alive, old)
        } else {
            reply.encode(keep_alive, old)
        };
        match self.client.send(&bytes, limit).await {
            Ok(()) if keep_alive => Next::KeepAlive,
            Ok(()) => Next::Close,
            Err(_) => Next::Abort,
        }
    }
}

impl<S: Transport + Send + 'static> Connection<S> {
    /// Goes on in HTTP/2, from the bytes already received.
    async fn upgrade(self) {
        let (stream, received, watchdog) = self.client.into_parts();
        let rewound = Rewound::new(received, stream);
        http2::serve(rewound, self.service, self.worker, watchdog).await;
    }
}
