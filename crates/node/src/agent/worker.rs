//! Looks after one pod: asks the plan, carries its actions out, shows the status.
//!
//! One task owns the memory of one pod. Everything that takes time (starts, probes, hooks, writes) runs in tasks of
//! its own and comes back as an [`Input`], so that a slow server or a hanging probe delays no signal.
//!
//! # Invariants
//!
//! - The record is on disk before an action that it tells of is carried out.
//! - One status write is under way at a time, and only if something differs from what was written last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kthena_cluster::ObjectKey;
use kthena_cluster::events::Severity;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::adopt;
use super::prepare::{Prepared, Subject};
use super::shared::{Shared, key, uid};
use super::writer::{self, Written};
use crate::plan::memory::{Event, StopCause};
use crate::plan::status::container_id;
use crate::plan::wish::PodWish;
use crate::plan::{Action, Signal, active_deadline, plan};
use crate::state::{PodFolder, PodRecord};
use crate::supervisor::protocol::{Known, Request};

/// Inputs that may wait for a worker.
const INBOX: usize = 64;
/// Between two attempts to write to the API server.
pub(super) const WRITE_RETRY: SignedDuration = SignedDuration::from_secs(1);

/// Something a worker has to deal with.
#[derive(Debug)]
pub(crate) enum Input {
    /// The object as it is now.
    Pod(Arc<Pod>),
    /// The object is gone.
    Gone,
    /// Something happened to a container in the life of that number.
    Event {
        container: String,
        attempt: u32,
        event: Event,
    },
    /// A container can be started; kept for commands run beside it.
    Prepared {
        container: String,
        prepared: Arc<Prepared>,
    },
    /// A process has ended.
    Ended(Known),
    /// The supervisor has died and taken all processes with it.
    Lost,
    /// The agent stops, and so must the pod.
    Stop {
        /// When what is left of it is killed, if its own grace does not end before.
        kill_at: Timestamp,
        /// When the agent waits no longer for its status to be written.
        leave_at: Timestamp,
    },
    /// A status write has ended.
    Written(Written),
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The pod has gone from this node.
    Finished,
    /// The agent stops.
    Stopped,
}

/// The worker of one pod.
pub(crate) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) pod: Arc<Pod>,
    pub(super) wish: PodWish,
    pub(super) record: PodRecord,
    pub(super) prepared: BTreeMap<String, Arc<Prepared>>,
    pub(super) outbox: mpsc::Sender<Input>,
    /// What takes time; dropped with the worker.
    pub(super) tasks: JoinSet<()>,
    inbox: mpsc::Receiver<Input>,
    pub(super) saved: Option<PodRecord>,
    pub(super) shown: Option<PodStatus>,
    pub(super) writing: Option<PodStatus>,
    pub(super) write_after: Option<Timestamp>,
    pub(super) refresh_at: Option<Timestamp>,
    leave_at: Option<Timestamp>,
}

impl Worker {
    /// A worker for a pod and the channel to it.
    pub(crate) fn new(
        shared: Arc<Shared>,
        pod: Arc<Pod>,
        record: PodRecord,
    ) -> (Self, mpsc::Sender<Input>) {
        let (outbox, inbox) = mpsc::channel(INBOX);
        let worker = Self {
            wish: PodWish::of(&pod),
            shown: pod.status.clone(),
            shared,
            pod,
            record,
            prepared: BTreeMap::new(),
            outbox: outbox.clone(),
            tasks: JoinSet::new(),
            inbox,
            saved: None,
            writing: None,
            write_after: None,
            refresh_at: None,
            leave_at: None,
        };
        (worker, outbox)
    }

    /// Looks after the pod until nothing of it is left here. `known` is what the supervisor has of it.
    pub(crate) async fn run(mut self, known: Vec<Known>) -> Farewell {
        self.adopt(&known);
        let now = Timestamp::now();
        self.record.memory.accepted_at.get_or_insert(now);
        self.note_deletion(now);
        self.schedule_refresh(now);
        loop {
            let wake = self.step().await;
            if let Some(farewell) = self.farewell().await {
                return farewell;
            }
            let pause = wake.map(|at| {
                at.duration_since(Timestamp::now())
                    .max(SignedDuration::ZERO)
            });
            let pause = pause
                .and_then(|pause| Duration::try_from(pause).ok())
                .unwrap_or(Duration::MAX);
            tokio::select! {
                input = self.inbox.recv() => if let Some(input) = input { self.take(input) },
                () = tokio::time::sleep(pause) => {}
            }
            // What else has come meanwhile is dealt with in the same step.
            while let Ok(input) = self.inbox.try_recv() {
                self.take(input);
            }
        }
    }

    /// Carries out all that is due. Returns when to look again.
    async fn step(&mut self) -> Option<Timestamp> {
        let now = Timestamp::now();
        if active_deadline(&self.wish, &self.record.memory).is_some_and(|deadline| deadline <= now)
        {
            self.stop(StopCause::Deadline, now);
        }
        while self.tasks.try_join_next().is_some() {}
        let mut wake;
        loop {
            let next = plan(&self.wish, &self.record.memory, now);
            wake = next.wake_at;
            let actions: Vec<Action> = next
                .actions
                .into_iter()
                .filter(|action| *action != Action::Finish)
                .collect();
            if actions.is_empty() {
                break;
            }
            for action in &actions {
                self.record.memory.note(action, now);
            }
            self.save();
            for action in actions {
                self.act(action).await;
            }
        }
        self.save();
        let leave = self.leave_at.filter(|at| *at > now);
        let again = [self.show(now), self.refresh(now), leave];
        again.into_iter().flatten().chain(wake).min()
    }

    fn take(&mut self, input: Input) {
        let now = Timestamp::now();
        match input {
            Input::Pod(pod) => {
                self.wish = PodWish::of(&pod);
                self.pod = pod;
                self.note_deletion(now);
            }
            Input::Gone => self.stop(StopCause::Gone, now),
            Input::Event {
                container,
                attempt,
                event,
            } => {
                if self.record.memory.container(&container).attempt == attempt {
                    self.record
                        .memory
                        .record(&container, event, &self.shared.config.backoff);
                }
            }
            Input::Prepared {
                container,
                prepared,
            } => {
                self.prepared.insert(container, prepared);
            }
            Input::Ended(known) => self.ended(&known),
            Input::Lost => self.lost(now),
            Input::Stop { kill_at, leave_at } => {
                self.leave_at = Some(leave_at);
                self.stop(
                    StopCause::Shutdown,
                    later(now, self.wish.grace).min(kill_at),
                );
            }
            Input::Written(written) => self.written(written, now),
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Start { container } => self.start(&container),
            Action::Probe { container, kind } => self.probe(&container, kind),
            Action::PostStart { container } => self.post_start(&container),
            Action::PreStop {
                container,
                deadline,
            } => self.pre_stop(&container, deadline),
            Action::Stop {
                container, probe, ..
            } => {
                let message = format!(
                    "container {container} failed its {} probe and is restarted",
                    probe.word().to_lowercase()
                );
                self.tell(Severity::Normal, "Killing", &message);
            }
            Action::Signal {
                container, signal, ..
            } => {
                let id = self.id_of(&container);
                let request = match signal {
                    Signal::Term => Request::Term { id },
                    Signal::Kill => Request::Kill { id },
                };
                self.shared.runtime.tell(request).await;
            }
            Action::Finish => {}
        }
    }

    /// Ends the worker once nothing of a stopped pod is left.
    async fn farewell(&mut self) -> Option<Farewell> {
        let stop = self.record.memory.stop?;
        if self.record.memory.is_live() {
            return None;
        }
        if self.leave_at.is_some_and(|at| at <= Timestamp::now()) {
            return Some(Farewell::Stopped);
        }
        let unwritten = self.writing.is_some() || self.write_after.is_some();
        match stop.cause {
            StopCause::Shutdown | StopCause::Deadline if unwritten => return None,
            // Its object stays, and so does the worker as long as the agent.
            StopCause::Deadline if self.leave_at.is_none() => return None,
            StopCause::Shutdown | StopCause::Deadline => return Some(Farewell::Stopped),
            StopCause::Deleted => {
                // The last status goes with the object, for those who hold it with a finalizer.
                if unwritten {
                    return None;
                }
                if writer::delete(&self.shared.client, &self.key(), &self.record.uid).await
                    == Written::No
                {
                    self.write_after = Some(later(Timestamp::now(), WRITE_RETRY));
                    return None;
                }
            }
            StopCause::Gone => {}
        }
        for (container, memory) in &self.record.memory.containers {
            for attempt in 1..=memory.attempt {
                let id = container_id(&self.record.uid, container, attempt);
                self.shared.runtime.tell(Request::Forget { id }).await;
            }
        }
        super::netns::remove(&self.shared, &self.record.uid).await;
        PodFolder::new(&self.shared.config.state_dir, &self.record.uid).remove();
        self.shared
            .release(&self.key(), &self.record.uid, self.record.address.into());
        Some(Farewell::Finished)
    }

    fn note_deletion(&mut self, now: Timestamp) {
        if self.pod.metadata.deletion_timestamp.is_some() {
            let grace = self.pod.metadata.deletion_grace_period_seconds;
            let grace = grace.map_or(self.wish.grace, SignedDuration::from_secs);
            if self
                .record
                .memory
                .stop
                .is_none_or(|stop| stop.cause != StopCause::Deleted)
            {
                self.tell(
                    Severity::Normal,
                    "Killing",
                    "stopping the containers of the pod",
                );
            }
            self.stop(StopCause::Deleted, later(now, grace));
        }
    }

    fn stop(&mut self, cause: StopCause, deadline: Timestamp) {
        self.record.memory.stop_pod(cause, deadline);
    }

    /// Takes up again what an earlier agent has left.
    fn adopt(&mut self, known: &[Known]) {
        for ended in adopt::take_up(
            &mut self.record,
            known,
            &self.shared.config,
            Timestamp::now(),
        ) {
            self.ended(ended);
        }
    }

    fn lost(&mut self, now: Timestamp) {
        for container in self.live() {
            adopt::lost(&mut self.record, &container, &self.shared.config, now);
        }
    }

    pub(super) fn live(&self) -> Vec<String> {
        self.record.live()
    }

    pub(super) fn key(&self) -> ObjectKey {
        ObjectKey::new(self.record.namespace.clone(), self.record.name.clone())
    }

    /// The identity of the present life of a container.
    pub(super) fn id_of(&self, container: &str) -> String {
        self.record.id_of(container)
    }

    pub(super) fn tell(&self, severity: Severity, reason: &str, message: &str) {
        self.shared.tell(&self.pod, severity, reason, message);
    }

    pub(super) fn subject(&self, container: &str) -> Option<Subject> {
        Some(Subject {
            part: self.wish.container(container)?.part,
            pod: Arc::clone(&self.pod),
            container: container.to_owned(),
            address: self.record.address,
            devices: self.record.devices.clone(),
        })
    }
}

pub(super) fn later(now: Timestamp, delay: SignedDuration) -> Timestamp {
    now.checked_add(delay).unwrap_or(Timestamp::MAX)
}

/// The record of a pod that this node sees for the first time.
pub(crate) fn fresh_record(pod: &Pod, address: std::net::Ipv4Addr) -> PodRecord {
    let key = key(pod);
    PodRecord {
        namespace: key.namespace,
        name: key.name,
        uid: uid(pod).to_owned(),
        address,
        devices: std::collections::BTreeSet::new(),
        memory: crate::plan::memory::PodMemory::default(),
    }
}
