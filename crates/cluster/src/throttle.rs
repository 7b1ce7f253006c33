//! Keeps the client below a rate of requests.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Layer, Service};

/// Requests per second on average, and how many may go out at once after a quiet time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestRate {
    /// Requests per second, more than 0.
    pub per_second: f64,
    /// Size of the bucket.
    pub burst: NonZeroU32,
}

/// A bucket of tokens that fills with time. Taking more than it holds answers with the moment to wait for.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    rate: RequestRate,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    pub(crate) fn new(rate: RequestRate, now: Instant) -> Self {
        Self {
            rate,
            tokens: f64::from(rate.burst.get()),
            filled: now,
        }
    }

    /// Takes a token, on credit if need be, and says how long its owner must wait.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        self.fill(now);
        self.tokens -= 1.0;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.tokens / self.rate.per_second).unwrap_or(Duration::MAX)
    }

    /// Takes a token only if there is one.
    pub(crate) fn try_take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens =
            (self.tokens + elapsed * self.rate.per_second).min(f64::from(self.rate.burst.get()));
        self.filled = now;
    }
}

/// Puts a [`Throttle`] around a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThrottleLayer(pub(crate) RequestRate);

/// Is ready only when the next request may go out.
#[derive(Debug)]
pub(crate) struct Throttle<S> {
    inner: S,
    bucket: TokenBucket,
    granted: bool,
    wait: Option<Pin<Box<Sleep>>>,
}

impl<S> Layer<S> for ThrottleLayer {
    type Service = Throttle<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Throttle {
            inner,
            bucket: TokenBucket::new(self.0, Instant::now()),
            granted: false,
            wait: None,
        }
    }
}

impl<S, R> Service<R> for Throttle<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if !self.granted {
            if self.wait.is_none() {
                let now = Instant::now();
                let delay = self.bucket.take(now);
                if !delay.is_zero() {
                    self.wait = Some(Box::pin(sleep_until(now + delay)));
                }
            }
            if let Some(wait) = &mut self.wait {
                std::task::ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            self.granted = true;
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.granted = false;
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests;
