//! A request's turn in the queue of its model.

use std::sync::Arc;

use kthena_router_filters::queue::{Ask, Permit, QueueEnd, Refused};
use kthena_router_pipeline::{BodyFacts, PromptFacts, RouteError};

use super::Connection;
use super::client::Gone;
use super::received::Received;
use crate::queueing;
use crate::transport::Transport;

impl<S: Transport> Connection<S> {
    /// Waits for the request's turn, if requests queue. The permit is held until the request has ended.
    pub(super) async fn turn(
        &mut self,
        received: &Received,
        facts: &BodyFacts,
    ) -> Result<Option<Permit>, RouteError> {
        let worker = Arc::clone(&self.worker);
        let Some(queues) = &worker.shared.queues else {
            return Ok(None);
        };
        let boost = queues.config().boost.as_ref();
        let session = boost
            .and_then(|boost| received.field_values(&boost.header).next())
            .and_then(|id| std::str::from_utf8(id).ok());
        let ask = Ask {
            model: &facts.model,
            user: "",
            session,
            input_tokens: facts.prompt.map_or(0, PromptFacts::tokens),
            max_output_tokens: facts.max_output_tokens(received.body()),
        };
        let measured = || queueing::engines(&worker.shared.snapshot.load(), &facts.model);
        let waiting = queues.enter(&ask, measured).map_err(refused)?;
        match self.client.unless_gone(waiting).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            Ok(Err(QueueEnd::TimedOut)) => Err(RouteError::QueueTimedOut),
            Ok(Err(QueueEnd::Closed)) | Err(Gone) => Err(RouteError::QueueLeft),
        }
    }
}

fn refused(why: Refused) -> RouteError {
    match why {
        Refused::UnknownModel => RouteError::NoRoute,
        Refused::Closed => RouteError::QueueRefused("request queue is closed"),
        Refused::Full { retry_after } => RouteError::QueueFull {
            retry_after: u32::try_from(retry_after.as_secs())
                .unwrap_or(u32::MAX)
                .max(1),
        },
    }
}
