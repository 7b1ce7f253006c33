//! Pod logs: from the node agent's files to whoever asks the API server.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kthena_apiserver_rest::{LogError, LogOptions, LogStream, PodLogs};
use kthena_node::{LogError as NodeLogError, LogOptions as NodeLogOptions, LogReader};

/// The logs of one node.
#[derive(Debug)]
pub(crate) struct NodeLogs(LogReader);

impl NodeLogs {
    /// Reads what `reader` finds.
    pub(crate) fn shared(reader: LogReader) -> Arc<Self> {
        Arc::new(Self(reader))
    }
}

impl PodLogs for NodeLogs {
    fn open<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        async move {
            let container = options.container.clone();
            let options = translate(&options)?;
            let stream = self
                .0
                .read(namespace, pod, container.as_deref(), options)
                .map_err(|error| refusal(&error))?;
            // A log that breaks off is cut; the client cannot be told any more.
            Ok(stream
                .scan((), |(), chunk| std::future::ready(chunk.ok()))
                .boxed())
        }
        .boxed()
    }
}

fn translate(options: &LogOptions) -> Result<NodeLogOptions, LogError> {
    let since_time = match &options.since_time {
        Some(text) => Some(
            text.parse()
                .map_err(|error| LogError::BadRequest(format!("sinceTime {text:?}: {error}")))?,
        ),
        None => None,
    };
    let ago = options.since_seconds.map(|seconds| {
        let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        Timestamp::now().checked_sub(span).unwrap_or(Timestamp::MIN)
    });
    Ok(NodeLogOptions {
        follow: options.follow,
        previous: options.previous,
        tail_lines: options.tail_lines,
        since: since_time.or(ago),
        timestamps: options.timestamps,
        limit_bytes: options.limit_bytes,
    })
}

fn refusal(error: &NodeLogError) -> LogError {
    let message = error.to_string();
    match error {
        NodeLogError::NoPod { .. } => LogError::NotFound(message),
        NodeLogError::Ambiguous { .. }
        | NodeLogError::NotStarted { .. }
        | NodeLogError::NoPrevious { .. } => LogError::BadRequest(message),
    }
}
