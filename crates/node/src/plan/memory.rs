//! What the node remembers of a pod between two looks at it, and how events change that.
//!
//! The memory is written to the state folder whenever it changes, so that a restarted agent goes on where the
//! old one stopped. Verdicts of probes are kept, so that a ready pod stays ready;
//! their counters, hooks in flight and blocked starts are not: they begin anew.
//!
//! # Invariants
//!
//! - A container has at most one life: it is started only from [`Life::Never`] or [`Life::Exited`].
//! - `attempt` only grows, so that an identity made of pod, container and attempt is never used twice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::backoff::{Backoff, BackoffRules};
use super::{Action, ProbeKind, Signal};

/// How long a container that outlived its grace inside a hook has between SIGTERM and SIGKILL.
const AFTER_HOOK: SignedDuration = SignedDuration::from_secs(2);

/// Why the whole pod is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCause {
    /// The object carries a deletion timestamp.
    Deleted,
    /// The object is gone from the API server, or another pod has taken its name.
    Gone,
    /// `activeDeadlineSeconds` has passed.
    Deadline,
    /// The agent is shutting down; the pod is started again by the next agent.
    Shutdown,
}

/// The stop of a whole pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStop {
    /// Why it stops.
    pub cause: StopCause,
    /// When what is left of it is killed.
    pub deadline: Timestamp,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 plus the signal for a container that a signal ended.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError` or `ContainerStatusUnknown`.
    pub reason: String,
    /// What a user should know beyond the reason.
    pub message: Option<String>,
    /// When the process began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// Not started yet.
    #[default]
    Never,
    /// Asked to start; nothing heard yet.
    Starting,
    /// Its process runs.
    Running {
        /// When it began.
        started_at: Timestamp,
    },
    /// Its process has ended.
    Exited(Exit),
}

/// How far the stop of one container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopStage {
    /// Wanted, nothing done yet.
    Wanted,
    /// The preStop hook runs.
    Hook,
    /// The preStop hook has ended.
    HookDone,
    /// SIGTERM has been sent.
    Asked,
    /// SIGKILL has been sent.
    Killed,
}

/// The stop of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStop {
    /// How far it is.
    pub stage: StopStage,
    /// When SIGKILL is due.
    pub deadline: Timestamp,
}

/// Counters of one probe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeMemory {
    /// Successes in a row.
    #[serde(skip)]
    pub successes: u32,
    /// Failures in a row.
    #[serde(skip)]
    pub failures: u32,
    /// The standing verdict; `None` until a threshold has been reached.
    pub passed: Option<bool>,
    /// When the last run began.
    #[serde(skip)]
    pub last: Option<Timestamp>,
    /// A run is under way.
    #[serde(skip)]
    pub in_flight: bool,
}

/// Why a container cannot be started now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The waiting reason users see.
    pub reason: String,
    /// What is missing and what to do.
    pub message: String,
    /// When to try again.
    pub until: Timestamp,
}

/// How far the postStart hook is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PostStart {
    /// Not asked for yet.
    #[default]
    Due,
    /// Under way.
    InFlight,
    /// Ended well.
    Done,
}

/// What the node remembers of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerMemory {
    /// Number of starts so far, the present one included.
    pub attempt: u32,
    /// Where it is.
    pub life: Life,
    /// The end of the life before this one.
    pub last: Option<Exit>,
    /// Lives, by their attempt, that the node has ended by going down.
    pub interrupted: BTreeSet<u32>,
    /// Restart delays.
    pub backoff: Backoff,
    /// Not to be started before this moment.
    pub retry_at: Option<Timestamp>,
    /// Its stop, once it has to stop.
    pub stop: Option<ContainerStop>,
    /// The postStart hook of this life.
    pub post_start: PostStart,
    /// It is a stand-in that serves nothing, so its probes are not asked.
    pub stand_in: bool,
    /// Why it is not started.
    #[serde(skip)]
    pub blocked: Option<Blocked>,
    /// Startup probe.
    pub startup: ProbeMemory,
    /// Readiness probe.
    pub readiness: ProbeMemory,
    /// Liveness probe.
    pub liveness: ProbeMemory,
}

impl ContainerMemory {
    /// How often it was restarted, whoever had ended it.
    pub fn restarts(&self) -> u32 {
        self.attempt.saturating_sub(1)
    }

    /// How often it was restarted after an end that the node had no part in.
    pub fn own_restarts(&self) -> u32 {
        let interrupted = self.interrupted.range(..self.attempt).count();
        let interrupted = u32::try_from(interrupted).unwrap_or(u32::MAX);
        self.restarts().saturating_sub(interrupted)
    }

    /// Whether it does not run because the node went down, and has not been started again yet.
    pub fn is_interrupted(&self) -> bool {
        self.exit().is_some() && self.interrupted.contains(&self.attempt)
    }

    /// Whether a process of it may exist.
    pub fn is_live(&self) -> bool {
        matches!(self.life, Life::Starting | Life::Running { .. })
    }

    /// The end it came to, if it has ended.
    pub fn exit(&self) -> Option<&Exit> {
        match &self.life {
            Life::Exited(exit) => Some(exit),
            _ => None,
        }
    }

    /// The counters of one probe.
    pub fn probe(&self, kind: ProbeKind) -> &ProbeMemory {
        match kind {
            ProbeKind::Startup => &self.startup,
            ProbeKind::Readiness => &self.readiness,
            ProbeKind::Liveness => &self.liveness,
        }
    }

    fn probe_mut(&mut self, kind: ProbeKind) -> &mut ProbeMemory {
        match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Readiness => &mut self.readiness,
            ProbeKind::Liveness => &mut self.liveness,
        }
    }

    fn begin_life(&mut self) {
        if let Life::Exited(exit) = std::mem::replace(&mut self.life, Life::Starting) {
            self.last = Some(exit);
        }
        self.attempt += 1;
        self.stop = None;
        self.retry_at = None;
        self.blocked = None;
        self.post_start = PostStart::Due;
        self.startup = ProbeMemory::default();
        self.readiness = ProbeMemory::default();
        self.liveness = ProbeMemory::default();
    }

    fn end_life(&mut self, exit: Exit, rules: &BackoffRules) {
        let ran = exit.finished_at.duration_since(exit.started_at);
        let delay = self.backoff.after_exit(ran, rules);
        self.retry_at = Some(
            exit.finished_at
                .checked_add(delay)
                .unwrap_or(exit.finished_at),
        );
        self.come_to(exit);
    }

    /// The node has taken the process down: no crash, so no delay either.
    fn interrupt(&mut self, exit: Exit) {
        self.interrupted.insert(self.attempt);
        self.retry_at = None;
        self.come_to(exit);
    }

    fn come_to(&mut self, exit: Exit) {
        self.life = Life::Exited(exit);
        self.stop = None;
        self.readiness.passed = None;
    }
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Its process runs.
    Started {
        /// Since when.
        at: Timestamp,
        /// Whether it is a stand-in.
        stand_in: bool,
    },
    /// It cannot be started for now: the attempt does not count.
    Blocked(Blocked),
    /// Its process has ended, or could not be made.
    Exited(Exit),
    /// Its process went down with the node.
    Interrupted(Exit),
    /// A probe has ended.
    Probed {
        /// Which one.
        kind: ProbeKind,
        /// Its result.
        ok: bool,
        /// The threshold that this result counts towards.
        threshold: u32,
    },
    /// The postStart hook has ended; a failure stops the container.
    PostStarted {
        /// Whether it ended well.
        ok: bool,
        /// When the container is killed if it did not.
        deadline: Timestamp,
    },
    /// The preStop hook has ended, well or not.
    PreStopped,
}

/// What the node remembers of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodMemory {
    /// One entry per container that was ever started or blocked.
    pub containers: BTreeMap<String, ContainerMemory>,
    /// When this node first saw the pod.
    pub accepted_at: Option<Timestamp>,
    /// Set once the whole pod has to stop.
    pub stop: Option<PodStop>,
}

impl PodMemory {
    /// The memory of a container, empty for one never seen.
    pub fn container(&self, name: &str) -> ContainerMemory {
        self.containers.get(name).cloned().unwrap_or_default()
    }

    /// Whether any process of the pod may exist.
    pub fn is_live(&self) -> bool {
        self.containers.values().any(ContainerMemory::is_live)
    }

    /// Whether it stops because the node does.
    pub fn is_shutting_down(&self) -> bool {
        self.stop
            .is_some_and(|stop| stop.cause == StopCause::Shutdown)
    }

    /// Wants the whole pod to stop. A second call may shorten the grace, never lengthen it.
    pub fn stop_pod(&mut self, cause: StopCause, deadline: Timestamp) {
        let stop = self.stop.get_or_insert(PodStop { cause, deadline });
        stop.deadline = stop.deadline.min(deadline);
        if cause != StopCause::Shutdown {
            stop.cause = cause;
        }
        let deadline = stop.deadline;
        for stop in self
            .containers
            .values_mut()
            .filter_map(|memory| memory.stop.as_mut())
        {
            stop.deadline = stop.deadline.min(deadline);
        }
    }

    /// Notes that `action` is being carried out.
    pub fn note(&mut self, action: &Action, now: Timestamp) {
        match action {
            Action::Start { container } => self.entry(container).begin_life(),
            Action::Probe { container, kind } => {
                let probe = self.entry(container).probe_mut(*kind);
                probe.in_flight = true;
                probe.last = Some(now);
            }
            Action::PostStart { container } => {
                self.entry(container).post_start = PostStart::InFlight;
            }
            Action::Stop {
                container,
                deadline,
                ..
            } => {
                self.stop_mut(container, *deadline);
            }
            Action::PreStop {
                container,
                deadline,
            } => self.stop_mut(container, *deadline).stage = StopStage::Hook,
            Action::Signal {
                container,
                signal,
                deadline,
            } => self.note_signal(container, *signal, *deadline, now),
            Action::Finish => {}
        }
    }

    /// Notes an event of `container`.
    pub fn record(&mut self, container: &str, event: Event, rules: &BackoffRules) {
        let down = self.is_shutting_down();
        let memory = self.entry(container);
        match event {
            // The news of a quick end may overtake that of its start.
            Event::Started { at, stand_in } if memory.life == Life::Starting => {
                memory.life = Life::Running { started_at: at };
                memory.stand_in = stand_in;
            }
            Event::Blocked(blocked) => memory.return_start(blocked),
            Event::Exited(exit) if memory.is_live() && !down => memory.end_life(exit, rules),
            Event::Exited(exit) | Event::Interrupted(exit) if memory.is_live() => {
                memory.interrupt(exit);
            }
            Event::Started { .. } | Event::Exited(_) | Event::Interrupted(_) => {}
            Event::Probed {
                kind,
                ok,
                threshold,
            } => memory.probe_mut(kind).count(ok, threshold),
            Event::PostStarted { ok: true, .. } => memory.post_start = PostStart::Done,
            Event::PostStarted {
                ok: false,
                deadline,
            } => {
                memory.post_start = PostStart::Done;
                memory.stop.get_or_insert(ContainerStop {
                    stage: StopStage::Wanted,
                    deadline,
                });
            }
            Event::PreStopped => {
                if let Some(stop) = memory
                    .stop
                    .as_mut()
                    .filter(|stop| stop.stage == StopStage::Hook)
                {
                    stop.stage = StopStage::HookDone;
                }
            }
        }
    }

    fn entry(&mut self, container: &str) -> &mut ContainerMemory {
        self.containers.entry(container.to_owned()).or_default()
    }

    fn stop_mut(&mut self, container: &str, deadline: Timestamp) -> &mut ContainerStop {
        let fresh = ContainerStop {
            stage: StopStage::Wanted,
            deadline,
        };
        self.entry(container).stop.get_or_insert(fresh)
    }

    fn note_signal(
        &mut self,
        container: &str,
        signal: Signal,
        deadline: Timestamp,
        now: Timestamp,
    ) {
        let stop = self.stop_mut(container, deadline);
        match signal {
            Signal::Kill => stop.stage = StopStage::Killed,
            Signal::Term => {
                if stop.stage == StopStage::Hook {
                    stop.deadline = stop
                        .deadline
                        .max(now.checked_add(AFTER_HOOK).unwrap_or(now));
                }
                stop.stage = StopStage::Asked;
            }
        }
    }
}

impl ContainerMemory {
    /// Takes back a start that never became a process.
    fn return_start(&mut self, blocked: Blocked) {
        if self.life == Life::Starting {
            self.attempt = self.attempt.saturating_sub(1);
            self.life = self.last.take().map_or(Life::Never, Life::Exited);
        }
        self.blocked = Some(blocked);
    }
}

impl ProbeMemory {
    fn count(&mut self, ok: bool, threshold: u32) {
        self.in_flight = false;
        if ok {
            self.successes = self.successes.saturating_add(1);
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.successes = 0;
        }
        let run = if ok { self.successes } else { self.failures };
        if run >= threshold {
            self.passed = Some(ok);
        }
    }
}
