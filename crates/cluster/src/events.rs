//! Tells users what happened to an object, as Events of the core API.
//!
//! Publishing never waits and never fails: a queue of bounded length feeds one task. Repeats of an event become
//! a higher count on it, and each object has a budget of events, so that a loop cannot flood the server.
//!
//! # Where to go next
//!
//! `correlate` holds the rules without a clock; this module writes.

mod correlate;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::target::{ObjectKey, Target};
use crate::write::{self, WriteError};
use correlate::{Correlator, Verdict};

/// Notices that may wait to be written.
const WAITING: usize = 4096;
/// How long one write may take; an event is not worth more.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// `v1`, `workload.serving.volcano.sh/v1alpha1`, …
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace and name.
    pub key: ObjectKey,
    /// Unique identity.
    pub uid: String,
}

/// Whether somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// As expected.
    Normal,
    /// Something is wrong.
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Notice {
    subject: Subject,
    severity: Severity,
    reason: String,
    message: String,
}

/// Takes events; clones share the queue.
#[derive(Debug, Clone)]
pub struct Recorder {
    waiting: mpsc::Sender<Notice>,
}

/// Writes what recorders take; run it next to them.
pub struct EventWriter {
    client: Client,
    component: String,
    host: String,
    waiting: mpsc::Receiver<Notice>,
    correlator: Correlator,
}

/// A recorder and its writer, for events of one component.
pub fn recorder(client: Client, component: &str, host: &str) -> (Recorder, EventWriter) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let writer = EventWriter {
        client,
        component: component.to_owned(),
        host: host.to_owned(),
        waiting: receiver,
        correlator: Correlator::default(),
    };
    (Recorder { waiting: sender }, writer)
}

impl Recorder {
    /// Notes an event; drops it if too many wait already.
    pub fn publish(&self, subject: &Subject, severity: Severity, reason: &str, message: &str) {
        let notice = Notice {
            subject: subject.clone(),
            severity,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        if self.waiting.try_send(notice).is_err() {
            tracing::debug!(reason, "event dropped: too many wait");
        }
    }
}

impl EventWriter {
    /// Writes until every recorder is dropped and nothing waits any more.
    pub async fn run(mut self) {
        while let Some(notice) = self.waiting.recv().await {
            match timeout(PATIENCE, self.write(&notice)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, reason = notice.reason, "event not written");
                }
                Err(_) => tracing::debug!(reason = notice.reason, "event not written in time"),
            }
        }
    }

    async fn write(&mut self, notice: &Notice) -> Result<(), WriteError> {
        let target = Target {
            api_version: "v1".to_owned(),
            kind: "Event".to_owned(),
            plural: "events".to_owned(),
        };
        let namespace = match notice.subject.key.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let now = Timestamp::now();
        match self.correlator.admit(notice, Instant::now()) {
            Verdict::Drop => Ok(()),
            Verdict::First => {
                let name = self.event_name(notice, now);
                let body = self.event(notice, namespace, &name, now);
                write::create(&self.client, &target, Some(namespace), &body).await?;
                self.correlator.written(notice, name);
                Ok(())
            }
            Verdict::Repeat { name, count } => {
                let patch = json!({ "count": count, "lastTimestamp": seconds(now) });
                let key = ObjectKey::new(namespace, name);
                match write::merge_patch(&self.client, &target, &key, None, &patch).await {
                    // The server keeps events for an hour only.
                    Err(WriteError::NotFound) => {
                        self.correlator.lost(notice);
                        Ok(())
                    }
                    answer => answer.map(|_| ()),
                }
            }
        }
    }

    fn event_name(&self, notice: &Notice, now: Timestamp) -> String {
        // Unique per event, and short enough for any subject that is legal.
        let mut subject = notice.subject.key.name.clone();
        subject.truncate(200);
        format!(
            "{subject}.{:x}.{:x}",
            now.as_nanosecond(),
            self.correlator.sequence()
        )
    }

    fn event(&self, notice: &Notice, namespace: &str, name: &str, now: Timestamp) -> Value {
        let Notice {
            subject,
            severity,
            reason,
            message,
        } = notice;
        let mut message = message.as_str();
        if let Some((end, _)) = message.char_indices().nth(1000) {
            message = &message[..end];
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": name, "namespace": namespace },
            "involvedObject": {
                "apiVersion": subject.api_version,
                "kind": subject.kind,
                "namespace": subject.key.namespace,
                "name": subject.key.name,
                "uid": subject.uid,
            },
            "type": match severity { Severity::Normal => "Normal", Severity::Warning => "Warning" },
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": seconds(now),
            "lastTimestamp": seconds(now),
            "source": { "component": self.component, "host": self.host },
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        })
    }
}

/// RFC 3339 with whole seconds, as the core API writes times.
fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}
