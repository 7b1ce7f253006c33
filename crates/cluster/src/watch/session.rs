//! The conversation with the server: one step of list, open or read at a time.

use std::collections::HashSet;
use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use kube::Client;
use kube::core::params::{ListParams, WatchParams};
use kube::core::request::Request;
use tokio::time::{Instant, sleep, timeout_at};

use super::backoff::Backoff;
use super::decode::{self, Event, Page};
use super::known::{Known, Named};
use super::{Change, Decode, Scope};
use crate::target::Target;

/// Objects per page of a list: bounds the memory a list needs.
const PAGE: u32 = 500;
/// Shortest time the server is asked to keep a watch open; as much again is added at random.
const WATCH_SECONDS: u32 = 145;
/// How long beyond that a silent connection is believed to be alive.
const SLACK: Duration = Duration::from_secs(15);

type Lines = Pin<Box<dyn AsyncBufRead + Send>>;

/// Where the conversation stands.
enum Phase {
    /// Nothing is known, or the known version is too old.
    List,
    /// Up to date as of a version, no connection.
    Open { version: String },
    /// Reading lines until the deadline.
    Read {
        version: String,
        lines: Lines,
        deadline: Instant,
    },
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Client(#[from] kube::Error),
    #[error("request could not be built")]
    Request(#[from] kube::core::request::Error),
    #[error("answer is not what the Kubernetes API promises: {0}")]
    Answer(#[from] serde_json::Error),
    #[error("connection lost: {0}")]
    Connection(#[from] std::io::Error),
    #[error("server ended the watch with {code}: {message}")]
    Ended { code: u16, message: String },
}

/// One watch with its memory.
pub(super) struct Session<K> {
    client: Client,
    target: Target,
    collection: String,
    list: ListParams,
    watch: WatchParams,
    known: Known<K>,
    backoff: Backoff,
    phase: Phase,
    buffer: Vec<u8>,
    absent: bool,
}

impl StepError {
    /// The known version leads nowhere: forgotten by the server, or followed by a line nobody can read.
    fn needs_list(&self) -> bool {
        matches!(self.code(), Some(404 | 410)) || matches!(self, Self::Answer(_))
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Client(kube::Error::Api(status)) => Some(status.code),
            Self::Ended { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl<K: Named> Session<K> {
    pub(super) fn new(client: Client, target: Target, scope: &Scope, decode: Decode<K>) -> Self {
        let collection = target.collection(scope.namespace.as_deref());
        let list = ListParams {
            label_selector: scope.labels.clone(),
            field_selector: scope.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let watch = WatchParams {
            label_selector: scope.labels.clone(),
            field_selector: scope.fields.clone(),
            bookmarks: true,
            ..WatchParams::default()
        };
        Self {
            client,
            target,
            collection,
            list,
            watch,
            known: Known::new(decode),
            backoff: Backoff::default(),
            phase: Phase::List,
            buffer: Vec::new(),
            absent: false,
        }
    }

    /// The next change, whenever it comes.
    pub(super) async fn next(&mut self) -> Change<K> {
        loop {
            if let Some(change) = self.known.take() {
                return change;
            }
            if let Err(error) = self.step().await {
                self.recover(&error).await;
            }
        }
    }

    async fn step(&mut self) -> Result<(), StepError> {
        match &mut self.phase {
            Phase::List => {
                let version = self.list().await?;
                self.phase = Phase::Open { version };
            }
            Phase::Open { version } => {
                let version = version.clone();
                self.phase = self.open(version).await?;
            }
            Phase::Read { .. } => self.read().await?,
        }
        Ok(())
    }

    /// Reads all pages and answers with the version they show.
    async fn list(&mut self) -> Result<String, StepError> {
        let mut seen = HashSet::new();
        let mut params = self.list.clone();
        loop {
            let request = Request::new(&self.collection).list(&params)?;
            let text = self.client.request_text(request).await?;
            let page: Page<'_> = serde_json::from_str(&text)?;
            for raw in page.items.unwrap_or_default() {
                seen.insert(self.known.stored(raw.get())?.0);
            }
            params.continue_token = page.metadata.next.filter(|next| !next.is_empty());
            if params.continue_token.is_none() {
                self.known.keep_only(&seen);
                self.known.report(Change::Synced);
                self.absent = false;
                self.backoff.reset();
                return Ok(page.metadata.resource_version);
            }
        }
    }

    async fn open(&mut self, version: String) -> Result<Phase, StepError> {
        let seconds = WATCH_SECONDS + fastrand::u32(0..WATCH_SECONDS);
        let params = WatchParams {
            timeout: Some(seconds),
            ..self.watch.clone()
        };
        let request = Request::new(&self.collection).watch(&params, &version)?;
        let lines: Lines = Box::pin(self.client.request_stream(request).await?);
        let deadline = Instant::now() + Duration::from_secs(seconds.into()) + SLACK;
        self.buffer.clear();
        Ok(Phase::Read {
            version,
            lines,
            deadline,
        })
    }

    async fn read(&mut self) -> Result<(), StepError> {
        let Phase::Read {
            version,
            lines,
            deadline,
        } = &mut self.phase
        else {
            return Ok(());
        };
        self.buffer.clear();
        let line = timeout_at(*deadline, lines.read_until(b'\n', &mut self.buffer)).await;
        // A server that closes the connection, or says nothing any more, is asked again from the same version.
        if !matches!(line, Ok(Ok(1..))) || !self.buffer.ends_with(b"\n") {
            let version = std::mem::take(version);
            self.phase = Phase::Open { version };
            return match line {
                Ok(Err(error)) => Err(error.into()),
                _ => Ok(()),
            };
        }
        match decode::event(&self.buffer)? {
            Event::Stored(raw) => *version = self.known.stored(raw)?.1,
            Event::Removed(raw) => *version = self.known.removed(raw)?,
            Event::Bookmark(reached) => *version = reached,
            Event::Failed { code, message } => return Err(StepError::Ended { code, message }),
        }
        self.backoff.reset();
        Ok(())
    }

    /// Decides where to go on after a failure and waits as long as is polite.
    async fn recover(&mut self, error: &StepError) {
        let listing = matches!(self.phase, Phase::List);
        if listing && error.code() == Some(404) {
            self.note_absent();
        }
        let phase = std::mem::replace(&mut self.phase, Phase::List);
        if !error.needs_list() {
            self.phase = match phase {
                Phase::List => Phase::List,
                Phase::Open { version } | Phase::Read { version, .. } => Phase::Open { version },
            };
        }
        let delay = self.backoff.next(fastrand::f64());
        if matches!(error.code(), Some(404 | 410)) {
            tracing::debug!(kind = self.target.kind, %error, "watch starts over");
        } else {
            tracing::warn!(kind = self.target.kind, %error, ?delay, "watch failed and is tried again");
        }
        if self.known.is_idle() {
            sleep(delay).await;
        }
    }

    /// The kind is not served: nothing of it exists. Said once, until it is served again.
    fn note_absent(&mut self) {
        if !self.absent {
            self.absent = true;
            self.known.keep_only(&HashSet::new());
            self.known.report(Change::Absent);
            self.known.report(Change::Synced);
        }
    }
}
