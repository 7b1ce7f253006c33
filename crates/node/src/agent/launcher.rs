//! The parts of a worker that start containers and run hooks and probes beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kthena_cluster::events::Severity;

use super::prepare::{Obstacle, Prepared, Subject};
use super::shared::{Shared, uid};
use super::worker::{Input, Worker, later};
use super::{netns, ports};
use crate::launch::command::Kind;
use crate::machine::request::of_pod;
use crate::plan::memory::{Blocked, Event, Exit};
use crate::plan::status::container_id;
use crate::state::PodFolder;
use crate::supervisor::protocol::{Ended, Known, Launch};

/// Before a container that something is in the way of is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(1);
/// The same for one whose program is missing: only a person changes that.
const RETRY_IMAGE: SignedDuration = SignedDuration::from_secs(10);
/// Keeps our allocator from huge pages, of which a process that hardly allocates fills none: two thirds of its memory.
const SMALL_PAGES: (&str, &str) = ("MIMALLOC_ALLOW_THP", "0");

/// How an end looks to users.
pub(super) fn exit(started_at: Timestamp, ended: &Ended) -> Exit {
    let reason = match ended {
        Ended {
            start_error: Some(_),
            ..
        } => "StartError",
        Ended {
            out_of_memory: true,
            ..
        } => "OOMKilled",
        Ended { code: 0, .. } => "Completed",
        _ => "Error",
    };
    Exit {
        code: ended.code,
        signal: ended.signal,
        reason: reason.to_owned(),
        message: ended.start_error.clone(),
        started_at,
        finished_at: ended.at,
    }
}

impl Worker {
    /// Starts a process for a container, or notes what is in the way.
    pub(super) fn start(&mut self, container: &str) {
        let attempt = self.record.memory.container(container).attempt;
        let Some(subject) = self.subject(container) else {
            return;
        };
        if let Err(obstacle) = self.hold_devices() {
            let event = blocked(&obstacle);
            self.record
                .memory
                .record(container, event, &self.shared.config.backoff);
            self.tell(Severity::Warning, obstacle.event, &obstacle.message);
            return;
        }
        let subject = Subject {
            devices: self.record.devices.clone(),
            ..subject
        };
        let (shared, outbox) = (Arc::clone(&self.shared), self.outbox.clone());
        self.forget_old_logs(container, attempt);
        self.tasks.spawn(async move {
            let container = subject.container.clone();
            let event = match shared.prepare(&subject).await {
                Ok(prepared) => {
                    let prepared = Arc::new(prepared);
                    let news = Input::Prepared {
                        container: container.clone(),
                        prepared: Arc::clone(&prepared),
                    };
                    // A worker that has ended needs no news.
                    drop(outbox.send(news).await);
                    shared.launch(&subject, attempt, &prepared).await
                }
                Err(obstacle) => {
                    shared.tell(
                        &subject.pod,
                        Severity::Warning,
                        obstacle.event,
                        &obstacle.message,
                    );
                    blocked(&obstacle)
                }
            };
            drop(
                outbox
                    .send(Input::Event {
                        container,
                        attempt,
                        event,
                    })
                    .await,
            );
        });
    }

    fn hold_devices(&mut self) -> Result<(), Obstacle> {
        let wanted = u32::try_from(of_pod(&self.pod).gpus).unwrap_or(0);
        if wanted == 0 || !self.record.devices.is_empty() {
            return Ok(());
        }
        let given = self
            .shared
            .holdings()
            .devices
            .take(&self.record.uid, wanted);
        self.record.devices = given.ok_or_else(|| Obstacle {
            reason: "ContainerCreating",
            event: "FailedDevices",
            message: format!("waiting for {wanted} GPUs: other pods still hold them"),
        })?;
        Ok(())
    }

    /// Logs of the last two lives are kept, as `kubectl logs --previous` needs them.
    fn forget_old_logs(&mut self, container: &str, attempt: u32) {
        let folder = PodFolder::new(&self.shared.config.state_dir, &self.record.uid);
        let Some(old) = attempt.checked_sub(2).filter(|old| *old > 0) else {
            return;
        };
        let path = folder.log(container, old);
        for age in 0..self.shared.config.log_files {
            let file = if age == 0 {
                path.clone()
            } else {
                crate::supervisor::logfile::rotated(&path, age)
            };
            // Most of them never existed.
            drop(std::fs::remove_file(file));
        }
        let (shared, id) = (
            Arc::clone(&self.shared),
            container_id(&self.record.uid, container, old),
        );
        self.tasks.spawn(async move {
            shared
                .runtime
                .tell(crate::supervisor::protocol::Request::Forget { id })
                .await;
        });
    }

    /// Notes the end of a process and says what its last words mean.
    pub(super) fn ended(&mut self, known: &Known) {
        let Some(ended) = &known.ended else { return };
        let found = self
            .live()
            .into_iter()
            .find(|container| self.id_of(container) == known.id);
        let Some(container) = found else { return };
        let memory = self.record.memory.container(&container);
        let asked = memory.stop.is_some() || self.record.memory.stop.is_some();
        if ended.code != 0 && !asked {
            let log = PodFolder::new(&self.shared.config.state_dir, &self.record.uid)
                .log(&container, memory.attempt);
            let message = format!("container {container} ended with code {}", ended.code);
            self.tell(Severity::Warning, "BackOff", &message);
            if let Some(advice) = ports::advice(&log, &container) {
                self.tell(Severity::Warning, "PortInUse", &advice);
            }
        }
        let exit = exit(known.started_at, ended);
        self.record
            .memory
            .record(&container, Event::Exited(exit), &self.shared.config.backoff);
    }
}

/// What the container gets, and for a process of our own the wish for a small heap: a machine may run hundreds.
fn environment(prepared: &Prepared) -> BTreeMap<String, String> {
    let mut env = prepared.env.clone();
    if prepared.choice.kind != Kind::Native {
        let (name, value) = SMALL_PAGES;
        env.entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    env
}

impl Shared {
    async fn launch(&self, subject: &Subject, attempt: u32, prepared: &Prepared) -> Event {
        let folder = PodFolder::new(&self.config.state_dir, uid(&subject.pod));
        let container = &subject.container;
        for remark in &prepared.remarks {
            self.tell(
                &subject.pod,
                Severity::Warning,
                "WorkingDirReplaced",
                remark,
            );
        }
        self.warn_of_ports(subject);
        let netns = match netns::ensure(self, subject).await {
            Ok(netns) => netns,
            Err(message) => {
                return blocked(&Obstacle {
                    reason: "ContainerCreating",
                    event: "FailedNetwork",
                    message,
                });
            }
        };
        let launch = Launch {
            id: container_id(uid(&subject.pod), container, attempt),
            argv: prepared.choice.argv.clone(),
            env: environment(prepared),
            cwd: prepared.cwd.clone(),
            log: folder.log(container, attempt),
            log_bytes: self.config.log_bytes,
            log_files: self.config.log_files,
            netns,
        };
        match self.runtime.start(launch).await {
            Ok(known) => {
                let stand_in = prepared.choice.kind == Kind::StandIn;
                let severity = if stand_in {
                    Severity::Warning
                } else {
                    Severity::Normal
                };
                let message = format!("started container {container}: {}", prepared.choice.note);
                self.tell(&subject.pod, severity, "Started", &message);
                Event::Started {
                    at: known.started_at,
                    stand_in,
                }
            }
            Err(message) => {
                let message = format!("container {container} cannot be started: {message}");
                self.tell(&subject.pod, Severity::Warning, "Failed", &message);
                blocked(&Obstacle {
                    reason: "CreateContainerError",
                    event: "Failed",
                    message,
                })
            }
        }
    }
}

impl Shared {
    fn warn_of_ports(&self, subject: &Subject) {
        let Some(container) = subject.spec() else {
            return;
        };
        for port in ports::held(container)
            .into_iter()
            .filter(|_| !self.config.isolate)
        {
            let message = format!(
                "port {port} of container {} is already held on all addresses by another process of this machine: \
                 let that one listen on its own address, or give this container another port",
                container.name
            );
            self.tell(&subject.pod, Severity::Warning, "PortInUse", &message);
        }
    }
}

fn blocked(obstacle: &Obstacle) -> Event {
    let retry = if obstacle.reason == "ErrImagePull" {
        RETRY_IMAGE
    } else {
        RETRY
    };
    Event::Blocked(Blocked {
        reason: obstacle.reason.to_owned(),
        message: obstacle.message.clone(),
        until: later(Timestamp::now(), retry),
    })
}
