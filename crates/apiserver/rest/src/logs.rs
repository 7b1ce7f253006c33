//! The `log` subresource of pods, answered by whoever runs the pods.

use std::fmt;

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

/// What a client asks of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The container; `None` if the pod has one only or a default is to be chosen.
    pub container: Option<String>,
    /// Whether to go on as the log grows.
    pub follow: bool,
    /// The log of the instance before the last restart.
    pub previous: bool,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
    /// Only lines of the last so many seconds.
    pub since_seconds: Option<u64>,
    /// Only lines from this time on, in RFC 3339.
    pub since_time: Option<String>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// Whether each line begins with its time.
    pub timestamps: bool,
}

/// Why a log cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The request does not fit the pod: no such container, container not started. Answered with 400.
    #[error("{0}")]
    BadRequest(String),
    /// Nobody runs this pod or its log is gone. Answered with 404.
    #[error("{0}")]
    NotFound(String),
    /// Reading failed. Answered with 500.
    #[error("{0}")]
    Failed(String),
}

/// The text of a log, in pieces of any size.
pub type LogStream = BoxStream<'static, Bytes>;

/// Gives out pod logs.
pub trait PodLogs: fmt::Debug + Send + Sync {
    /// Opens the log of a pod. The stream ends with the log, or, when following, with the container.
    fn open<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>>;
}
