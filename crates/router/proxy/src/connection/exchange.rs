//! The account of one request: opened when its head is read, closed exactly once, whatever happens.

use std::fmt::Display;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime};

use kthena_router_filters::rate::Limiter;
use kthena_router_observability::metrics::{Cell, Raised, TokenLimit, UNKNOWN_MODEL};
use kthena_router_observability::{Destination, LogError, Marks, Record, Usage, access_log};
use kthena_router_pipeline::{ApiPath, BodyFacts, Explanation, RouteError};
use kthena_router_view::Snapshot;

use crate::http1::request::RequestHead;
use crate::shared::Shared;

/// What is written to log and metrics when it drops. A request that is cut off counts as left by its client,
/// one that panics as failed.
pub(super) struct Exchange {
    pub(super) record: Record,
    pub(super) api: ApiPath,
    /// Kept for a client that asked, if the router may tell.
    pub(super) explanation: Option<Box<Explanation>>,
    /// How the client wants to be told.
    pub(super) form: Option<Form>,
    shared: Arc<Shared>,
    started: Instant,
    /// When the body had been read and measured.
    measured: Option<Instant>,
    dispatched: Option<Instant>,
    answered: Option<Instant>,
    /// Metric label of the model; `None` = the body never gave one, so the request is not counted.
    model: Option<Arc<str>>,
    cell: Option<Arc<Cell>>,
    /// Is charged for the answer's tokens.
    limiter: Option<Arc<Limiter>>,
    /// The limit that the request was refused for.
    limit: Option<TokenLimit>,
    error_type: Option<&'static str>,
    settled: bool,
    _active: Raised,
    downstream: Option<Raised>,
}

/// How a client wants to be told where its request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One line for a person.
    Line,
    /// For a program.
    Json,
}

impl Form {
    /// The form that a header's value asks for.
    pub(super) fn of(value: &[u8]) -> Option<Self> {
        match value {
            b"1" => Some(Self::Line),
            b"json" => Some(Self::Json),
            _ => None,
        }
    }
}

static UNKNOWN: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(UNKNOWN_MODEL));

impl Exchange {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        head: &RequestHead,
        buffer: &[u8],
        protocol: &'static str,
        request_id: String,
    ) -> Self {
        let record = Record {
            method: head.method(buffer).to_owned(),
            path: head.path(buffer).to_owned(),
            protocol,
            request_id,
            ..Record::new(SystemTime::now())
        };
        Self {
            api: ApiPath::of(&record.path),
            record,
            explanation: None,
            form: None,
            shared: Arc::clone(shared),
            started: Instant::now(),
            measured: None,
            dispatched: None,
            answered: None,
            model: None,
            cell: None,
            limiter: None,
            limit: None,
            error_type: None,
            settled: false,
            _active: shared.metrics.enter(),
            downstream: None,
        }
    }

    /// When an answer must have begun.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.started + self.shared.limits.answer?)
    }

    /// The body was read: from here on the request counts.
    pub(super) fn note_body(&mut self, facts: &BodyFacts, snapshot: &Snapshot) {
        self.record.model.clone_from(&facts.model);
        self.record.input_tokens = facts
            .prompt
            .map_or(0, kthena_router_pipeline::PromptFacts::tokens);
        let model = snapshot.routes.known(&facts.model).unwrap_or(&UNKNOWN);
        self.downstream = Some(self.shared.metrics.downstream(model));
        self.model = Some(Arc::clone(model));
        self.measured = Some(Instant::now());
    }

    /// The model as metrics name it.
    pub(super) fn model_label(&self) -> &Arc<str> {
        self.model.as_ref().unwrap_or(&UNKNOWN)
    }

    /// The request was admitted by its model's limits, which its answer is charged to.
    pub(super) fn note_limiter(&mut self, limiter: Arc<Limiter>) {
        self.limiter = Some(limiter);
    }

    /// Candidates were chosen. Returns what attempts are counted in.
    pub(super) fn note_destination(&mut self, destination: Destination) -> Arc<Cell> {
        let cell = self.cell_of(Some(&destination));
        self.record.destination = Some(destination);
        self.cell = Some(Arc::clone(&cell));
        self.dispatched = Some(Instant::now());
        cell
    }

    /// What the client is told when `pod` answered, or none did.
    pub(super) fn told(&self, explanation: &Explanation, pod: Option<&str>) -> String {
        match self.form {
            Some(Form::Json) => explanation.json(pod),
            Some(Form::Line) | None => explanation.line(pod),
        }
    }

    /// The pod that was tried last gave no answer for the client.
    pub(super) fn note_failed_attempt(&mut self, why: &dyn Display) {
        if let (Some(explanation), Some(pod)) = (&mut self.explanation, &self.record.pod) {
            explanation.note_failure(pod, why);
        }
    }

    /// The request ends with an answer of the router's own.
    pub(super) fn note_error(&mut self, error: &RouteError, status: u16) {
        let outcome = error.outcome();
        self.record.status = status;
        self.record.error = Some(LogError {
            kind: outcome.log_type,
            message: error.to_string(),
        });
        self.error_type = outcome.metric;
        self.limit = match error {
            RouteError::InputLimited { .. } => Some(TokenLimit::Input),
            RouteError::OutputLimited { .. } => Some(TokenLimit::Output),
            _ => None,
        };
        self.settle();
    }

    /// The request ends with an engine's answer.
    pub(super) fn note_answer(&mut self, usage: Option<Usage>) {
        self.record.usage = usage;
        self.settle();
    }

    /// The answer began but did not reach the client whole.
    pub(super) fn note_break(&mut self, kind: &'static str, message: &str) {
        self.record.error = Some(LogError {
            kind,
            message: message.to_owned(),
        });
        self.error_type = Some(kind);
    }

    fn settle(&mut self) {
        self.answered = Some(Instant::now());
        self.settled = true;
    }

    fn cell_of(&self, destination: Option<&Destination>) -> Arc<Cell> {
        let model = self.model.as_ref().unwrap_or(&UNKNOWN);
        self.shared
            .metrics
            .cell(model, self.api.label(), destination)
    }

    fn close(&mut self) {
        if !self.settled {
            let error = if std::thread::panicking() {
                RouteError::Panicked
            } else {
                RouteError::ClientGone
            };
            self.note_error(&error, error.outcome().status.as_u16());
        }
        let ended = Instant::now();
        self.record.phases = Marks {
            started: self.started,
            measured: self.measured,
            dispatched: self.dispatched,
            answered: self.answered,
            ended,
        }
        .phases();
        if let (Some(_), Some(measured)) = (&self.model, self.measured) {
            let cell = self.cell.take().unwrap_or_else(|| self.cell_of(None));
            cell.finish(&self.record, self.error_type, ended - measured);
            if let Some(limit) = self.limit {
                cell.refuse(limit);
            }
        }
        if let Some(limiter) = &self.limiter {
            limiter.charge(self.record.output_tokens(), ended);
        }
        self.log();
    }

    fn log(&self) {
        let Some((format, sink)) = &self.shared.log else {
            return;
        };
        let mut line = String::with_capacity(512);
        access_log::write_line(&self.record, *format, &mut line);
        sink.push(&line);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.close();
    }
}
