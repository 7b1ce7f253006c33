//! The parts of a worker that write: the status to the server, the record to disk, volumes to their folders.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::shared::{key, place};
use super::worker::{Input, WRITE_RETRY, Worker, later};
use super::writer::{self, Written};
use crate::plan::memory::StopCause;
use crate::plan::phase;
use crate::plan::status::status;
use crate::state::PodRecord;

impl Worker {
    /// Shows the status if it differs. Returns when to try again.
    pub(super) fn show(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.writing.is_some() {
            return None;
        }
        let gone = self
            .record
            .memory
            .stop
            .is_some_and(|stop| stop.cause == StopCause::Gone);
        if let Some(at) = self.write_after.filter(|at| *at > now && !gone) {
            return Some(at);
        }
        self.write_after = None;
        if gone {
            return None;
        }
        let place = place(&self.shared, self.record.address);
        let wanted = status(
            &self.pod,
            self.shown.as_ref(),
            &self.wish,
            &self.record.memory,
            place,
            now,
        );
        self.release_if_final();
        let difference = writer::difference(self.shown.as_ref(), &wanted)?;
        self.writing = Some(wanted);
        let (shared, key, outbox) = (Arc::clone(&self.shared), self.key(), self.outbox.clone());
        let uid = self.record.uid.clone();
        self.tasks.spawn(async move {
            let written = writer::write(&shared.client, &key, &uid, difference).await;
            // A worker that has ended needs no answer.
            drop(outbox.send(Input::Written(written)).await);
        });
        None
    }

    pub(super) fn written(&mut self, written: Written, now: Timestamp) {
        let wanted = self.writing.take();
        match written {
            Written::No => self.write_after = Some(later(now, WRITE_RETRY)),
            Written::Yes | Written::Moot => self.shown = wanted,
        }
    }

    /// A pod that has ended for good frees what it held, though its object stays.
    fn release_if_final(&mut self) {
        if phase(&self.wish, &self.record.memory).is_final() && !self.record.memory.is_live() {
            let freed = self
                .shared
                .holdings()
                .used
                .remove(&self.record.uid)
                .is_some();
            if freed {
                self.shared.holdings().devices.release(&self.record.uid);
                self.record.devices.clear();
                self.shared.changed.notify_waiters();
            }
        }
    }

    pub(super) fn schedule_refresh(&mut self, now: Timestamp) {
        let references = super::volumes::references(&self.pod);
        if references != super::volumes::References::default() {
            let period =
                SignedDuration::try_from(self.shared.config.volume_refresh).unwrap_or(WRITE_RETRY);
            self.refresh_at = Some(later(now, period));
        }
    }

    /// Brings volumes up to date from time to time. Returns when it is due again.
    pub(super) fn refresh(&mut self, now: Timestamp) -> Option<Timestamp> {
        let at = self.refresh_at?;
        if at > now || self.record.memory.stop.is_some() {
            return Some(at).filter(|at| *at > now);
        }
        self.schedule_refresh(now);
        let (shared, pod, address) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.pod),
            self.record.address,
        );
        self.tasks.spawn(async move {
            if let Err(obstacle) = shared.refresh_volumes(&pod, address).await {
                tracing::debug!(pod = %key(&pod), message = obstacle.message, "volumes not refreshed");
            }
        });
        self.refresh_at
    }

    /// Writes the record if it differs from the one on disk.
    pub(super) fn save(&mut self) {
        let record = PodRecord {
            memory: self.record.memory.settled(),
            ..self.record.clone()
        };
        if self.saved.as_ref() == Some(&record) {
            return;
        }
        match record.save(&self.shared.config.state_dir) {
            Ok(()) => self.saved = Some(record),
            Err(error) => {
                tracing::error!(pod = %self.key(), %error, "cannot write the record of a pod");
            }
        }
    }
}
