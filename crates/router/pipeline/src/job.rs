//! A request as policies and engines see it, from its first decision to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kthena_router_connectors::{Connector, Meeting, TransferParams};
use kthena_router_scheduler::{KvIndex, Notes, RequestFacts, Role};

use crate::body::BodyFacts;
use crate::edits::Edits;
use crate::path::ApiPath;
use crate::prompt::{PromptFacts, PromptReader};

/// What is known of a request's body and how its model is called. The body itself is borrowed where it is needed.
#[derive(Debug)]
pub struct Job {
    facts: BodyFacts,
    api: ApiPath,
    /// The name that replaces the client's.
    served: Option<Arc<str>>,
    adapter: bool,
    /// What was found out about the prompt before.
    pub prior: Prior,
    /// The session that the client named.
    pub session: Option<String>,
    /// Only ever used by the task that serves the request; the lock lets it move between threads.
    notes: Mutex<Notes>,
}

/// What was found out about a prompt before its request is placed. It serves all placements of the request.
#[derive(Clone, Default)]
pub struct Prior {
    /// The prompt's tokens as the engine would see them, if somebody made them.
    pub tokens: Option<Arc<[u32]>>,
    /// Which blocks of it are cached where, if somebody knows.
    pub kv: Option<Arc<dyn KvIndex + Send + Sync>>,
}

impl std::fmt::Debug for Prior {
    /// Not the tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prior")
            .field("tokens", &self.tokens.as_ref().map(|tokens| tokens.len()))
            .field("kv", &self.kv.is_some())
            .finish()
    }
}

impl Job {
    /// The job of a request whose model engines call `served`, or as the client does.
    pub fn new(facts: BodyFacts, api: ApiPath, served: Option<Arc<str>>, adapter: bool) -> Self {
        Self {
            facts,
            api,
            served,
            adapter,
            prior: Prior::default(),
            session: None,
            notes: Mutex::default(),
        }
    }

    /// Value of the body's `model`.
    pub fn model(&self) -> &str {
        &self.facts.model
    }

    /// The name that engines know the model or adapter by.
    pub fn served_model(&self) -> &str {
        self.served.as_deref().unwrap_or(&self.facts.model)
    }

    /// Calls `use_facts` with what policies may look at when an endpoint is to do `role` of the request, whose body is
    /// `body`, at `now` on the process's own clock.
    pub fn with_facts<R>(
        &self,
        body: &[u8],
        role: Role,
        now: Duration,
        use_facts: impl FnOnce(&RequestFacts<'_>) -> R,
    ) -> R {
        let prompt = self.facts.prompt.unwrap_or_default();
        let text = PromptReader::new(body, &prompt);
        let tokens = self.prior.tokens.as_deref();
        let counted = tokens.map(|tokens| tokens.len() as u64);
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        use_facts(&RequestFacts {
            served_model: self.served_model(),
            adapter: self.adapter,
            prompt: &text,
            prompt_tokens: counted.unwrap_or_else(|| PromptFacts::tokens(prompt)),
            tokens,
            kv: self.prior.kv.as_deref().map(|kv| kv as &dyn KvIndex),
            session: self.session.as_deref(),
            role,
            now,
            ..RequestFacts::new(&self.facts.model, &notes)
        })
    }

    /// What changes in the body for an engine that does all of it.
    pub fn edits(&self) -> Edits {
        Edits::for_engine(&self.facts, self.api, self.served.as_deref())
    }

    /// What changes in `body` for the prefill half of an attempt.
    pub fn prefill_edits(&self, body: &[u8], connector: Connector, meeting: &Meeting) -> Edits {
        let changes = connector.prefill(meeting, self.api.is_responses());
        Edits::for_prefill(&self.facts, body, self.served.as_deref(), changes)
    }

    /// What changes in `body` for the decode half of an attempt.
    pub fn decode_edits(
        &self,
        body: &[u8],
        connector: Connector,
        meeting: &Meeting,
        params: Option<TransferParams>,
    ) -> Edits {
        let changes = connector.decode(meeting, params);
        Edits::for_decode(&self.facts, body, self.api, self.served.as_deref(), changes)
    }
}
