//! A set of named tasks that live and die together.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Tasks of one component. When one fails, `shutdown` is cancelled so that the others end too.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<Result<(), TaskError>>,
    names: HashMap<Id, &'static str>,
    shutdown: CancellationToken,
}

/// Why a task ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The task gave up.
    #[error("{task}: {cause}")]
    Failed {
        /// Name of the task.
        task: &'static str,
        /// What it said.
        cause: String,
    },
    /// The task panicked.
    #[error("{task} panicked")]
    Panicked {
        /// Name of the task.
        task: &'static str,
        /// The panic.
        #[source]
        source: JoinError,
    },
}

impl Tasks {
    /// An empty set that is told to stop by `shutdown`, and cancels it when a task fails.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self {
            set: JoinSet::new(),
            names: HashMap::new(),
            shutdown,
        }
    }

    /// The token that ends the set.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task. It should end soon after the token is cancelled.
    pub fn spawn<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let named = async move {
            let outcome = task.await;
            tracing::debug!(task = name, failed = outcome.is_err(), "task ended");
            outcome.map_err(|cause| TaskError::Failed {
                task: name,
                cause: format!("{cause:#}"),
            })
        };
        let handle = self.set.spawn(named);
        self.names.insert(handle.id(), name);
    }

    /// Waits until all tasks have ended and answers the first failure.
    ///
    /// # Errors
    ///
    /// The first task that failed or panicked; the others were told to stop then.
    pub async fn join(mut self) -> Result<(), TaskError> {
        let mut first = Ok(());
        while let Some(ended) = self.set.join_next_with_id().await {
            let outcome = match ended {
                Ok((_, outcome)) => outcome,
                Err(source) => {
                    let task = self.names.get(&source.id()).copied().unwrap_or("task");
                    Err(TaskError::Panicked { task, source })
                }
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "task failed");
                self.shutdown.cancel();
                if first.is_ok() {
                    first = Err(error);
                }
            }
        }
        first
    }
}
