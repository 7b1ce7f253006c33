//! Why a request was not served, and the one table of what follows from it.

use http::StatusCode;
use kthena_router_scheduler::PlaceError;

use crate::json::JsonFault;

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The connection broke, or chunks were malformed, while the body was read.
    #[error("the request body could not be read: {0}")]
    BodyUnreadable(&'static str),
    /// The body is larger than the limit.
    #[error("request body too large")]
    BodyTooLarge,
    /// The body is no JSON object.
    #[error(transparent)]
    BadJson(#[from] JsonFault),
    /// Something follows the object.
    #[error("invalid request body")]
    TrailingData,
    /// `model` is missing, blank or no text.
    #[error("model not found")]
    ModelMissing,
    /// None of `prompt`, `messages`, `input` can be read.
    #[error("prompt not found")]
    PromptMissing,
    /// The model's limit on prompt tokens is used up.
    #[error("input token rate limit exceeded")]
    InputLimited {
        /// When there are enough for this prompt, in seconds; `None` = never.
        retry_after: Option<u32>,
    },
    /// The model's limit on generated tokens is used up.
    #[error("output token rate limit exceeded")]
    OutputLimited {
        /// When there is one again, in seconds.
        retry_after: Option<u32>,
    },
    /// No route takes the request.
    #[error("route not found")]
    NoRoute,
    /// The route names a model server that does not exist.
    #[error("can't find model server: {0}")]
    NoServer(String),
    /// The route names an external provider that does not exist.
    #[error("can't find external model provider: {0}")]
    NoProvider(String),
    /// The model server has no ready pod.
    #[error("no available pods for model server: {0}")]
    NoPods(String),
    /// The model server has ready pods, but none that decodes.
    #[error("can't schedule to target pod: no decode pod found")]
    NoDecodePod,
    /// There are decode pods, but none has a prefill pod to work with.
    #[error("can't schedule to target pod: no valid prefill-decode pod pairs found")]
    NoPair,
    /// There are ready pods, but filters left none.
    #[error("can't schedule to target pod: {0}")]
    Filtered(#[from] PlaceError),
    /// No candidate gave an answer.
    #[error("request to all pods failed")]
    AllFailed {
        /// The last of them ran into the time limit.
        timed_out: bool,
    },
    /// No pair of a prefill and a decode pod gave an answer.
    #[error("all prefill/decode attempts failed")]
    PairsFailed {
        /// The last of them ran into the time limit.
        timed_out: bool,
    },
    /// The client went away before it was answered.
    #[error("the client closed the connection")]
    ClientGone,
    /// The body stopped arriving.
    #[error("the request body did not arrive in time")]
    BodyTimedOut,
    /// The machine has no descriptor left for a connection to an engine.
    #[error("the router has too many connections")]
    Overloaded,
    /// The router serves its last requests and takes no more.
    #[error("the router is shutting down")]
    Draining,
    /// Serving the request panicked.
    #[error("request processing failed")]
    Panicked,
    /// No answer had begun when the request's time was over.
    #[error("the request was not answered in time")]
    TimedOut,
    /// The wait in the model's queue was longer than allowed.
    #[error("Request processing timed out in queue")]
    QueueTimedOut,
    /// The model's queue was closed while the request waited in it.
    #[error("Client disconnected while waiting in queue")]
    QueueLeft,
    /// As many requests wait for the model as may.
    #[error("failed to enqueue request: too many requests wait for the model")]
    QueueFull {
        /// When one more may find room, in seconds.
        retry_after: u32,
    },
    /// The queue takes no requests.
    #[error("failed to enqueue request: {0}")]
    QueueRefused(&'static str),
    /// The router has not yet read its objects.
    #[error("the router is starting")]
    NotReady,
}

/// How errors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorStyle {
    /// As the OpenAI API does, with the status a client library acts on.
    #[default]
    OpenAi,
    /// A bare JSON string with the statuses of earlier releases.
    Legacy,
}

/// Consequences of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Status in the default style.
    pub status: StatusCode,
    /// Status in the legacy style.
    pub legacy_status: StatusCode,
    /// `code` of an OpenAI error.
    pub code: Option<&'static str>,
    /// `param` of an OpenAI error.
    pub param: Option<&'static str>,
    /// Seconds for `Retry-After`; default style only.
    pub retry_after: Option<u32>,
    /// Type in the access log.
    pub log_type: &'static str,
    /// Value of the metric label `error_type`; `None` = the request is not counted.
    pub metric: Option<&'static str>,
}

/// Nobody reads this status; it marks in logs and metrics that the client left.
const CLIENT_CLOSED: u16 = 499;

impl RouteError {
    /// Status, log type, metric label and hints to the client: the whole table.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::BodyUnreadable(_) => row(400, 500).log("request_parsing"),
            Self::BodyTooLarge => row(413, 413)
                .log("request_parsing")
                .code("request_too_large"),
            Self::BadJson(_) | Self::TrailingData => row(400, 400).log("request_parsing"),
            Self::ModelMissing => row(400, 404).log("request_parsing").param("model"),
            Self::PromptMissing => row(400, 404).counted("prompt_parsing").param("messages"),
            Self::InputLimited { retry_after } => limited("input_rate_limit", *retry_after),
            Self::OutputLimited { retry_after } => limited("output_rate_limit", *retry_after),
            Self::NoRoute => row(404, 404)
                .counted("route_not_found")
                .code("model_not_found")
                .param("model"),
            Self::NoServer(_) => row(404, 404)
                .counted("pod_discovery")
                .code("model_not_found")
                .param("model"),
            Self::NoProvider(_) => row(404, 404)
                .counted("provider_discovery")
                .code("model_not_found")
                .param("model"),
            Self::NoPods(_) => row(503, 503)
                .counted("pod_discovery")
                .code("no_endpoint")
                .retry(1),
            Self::NoDecodePod | Self::NoPair | Self::Filtered(_) => row(503, 400)
                .counted("request_failed")
                .log("scheduling")
                .code("no_endpoint")
                .retry(1),
            Self::AllFailed { timed_out: false } => {
                row(502, 503).counted("proxy").code("upstream_failed")
            }
            Self::AllFailed { timed_out: true } => {
                row(504, 503).counted("proxy").code("upstream_timeout")
            }
            Self::PairsFailed { timed_out: false } => row(502, 500)
                .counted("request_failed")
                .log("proxy")
                .code("upstream_failed"),
            Self::PairsFailed { timed_out: true } => row(504, 500)
                .counted("request_failed")
                .log("proxy")
                .code("upstream_timeout"),
            Self::ClientGone => row(CLIENT_CLOSED, CLIENT_CLOSED).counted("client_closed"),
            Self::BodyTimedOut => row(408, 408).log("request_parsing"),
            Self::Overloaded => row(503, 503).counted("proxy").code("overloaded").retry(1),
            Self::Panicked => row(500, 500).counted("request_failed").log("panic"),
            Self::TimedOut => row(504, 504).counted("proxy").code("request_timeout"),
            Self::QueueTimedOut => row(504, 504).counted("scheduling").code("queue_timeout"),
            Self::QueueLeft => row(503, 503).counted("scheduling").code("queue_closed"),
            Self::QueueFull { retry_after } => row(429, 500)
                .counted("scheduling")
                .code("queue_full")
                .retry(*retry_after),
            Self::QueueRefused(_) => row(503, 500)
                .counted("scheduling")
                .code("queue_closed")
                .retry(1),
            Self::Draining | Self::NotReady => row(503, 503)
                .log("request_parsing")
                .code("not_ready")
                .retry(1),
        }
    }

    /// Status and body for the client.
    pub fn render(&self, style: ErrorStyle) -> (StatusCode, String) {
        let outcome = self.outcome();
        let message = self.to_string();
        match style {
            ErrorStyle::Legacy => (
                outcome.legacy_status,
                serde_json::Value::from(message).to_string(),
            ),
            ErrorStyle::OpenAi => {
                let kind = match outcome.status {
                    StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
                    status if status.is_server_error() => "server_error",
                    _ => "invalid_request_error",
                };
                let error = serde_json::json!({
                    "message": message, "type": kind, "param": outcome.param, "code": outcome.code,
                });
                (
                    outcome.status,
                    serde_json::json!({ "error": error }).to_string(),
                )
            }
        }
    }
}

fn row(status: u16, legacy: u16) -> Outcome {
    let code = |code| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Outcome {
        status: code(status),
        legacy_status: code(legacy),
        code: None,
        param: None,
        retry_after: None,
        log_type: "",
        metric: None,
    }
}

fn limited(log_type: &'static str, retry_after: Option<u32>) -> Outcome {
    Outcome {
        retry_after,
        ..row(429, 429)
            .counted("rate_limit")
            .log(log_type)
            .code("rate_limit_exceeded")
    }
}

impl Outcome {
    fn log(self, log_type: &'static str) -> Self {
        Self { log_type, ..self }
    }

    fn counted(self, metric: &'static str) -> Self {
        Self {
            log_type: metric,
            metric: Some(metric),
            ..self
        }
    }

    fn code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    fn param(self, param: &'static str) -> Self {
        Self {
            param: Some(param),
            ..self
        }
    }

    fn retry(self, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
