//! The parts of a worker that ask something of a running container: probes and hooks.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kthena_cluster::events::Severity;
use tokio::sync::mpsc;

use super::check::{Check, ExecCheck, HttpCheck, host_or};
use super::prepare::{Prepared, Subject};
use super::shared::Shared;
use super::worker::{Input, Worker, later};
use crate::plan::ProbeKind;
use crate::plan::memory::Event;
use crate::supervisor::{ENV_COMMAND, ENV_CONTAINER_ID, ENV_NODE_DIR};

/// Longest postStart hook.
const POST_START: Duration = Duration::from_mins(10);

/// Something to ask of a container.
enum Ask {
    /// As it stands.
    Check(Check),
    /// A command, which needs the surroundings of the container.
    Command {
        argv: Vec<String>,
        /// Known unless another agent has started the container.
        prepared: Option<Arc<Prepared>>,
    },
}

/// What a task needs to ask a container and to tell its worker.
struct Asker {
    shared: Arc<Shared>,
    outbox: mpsc::Sender<Input>,
    subject: Subject,
    attempt: u32,
    id: String,
}

impl Worker {
    /// Runs a probe once.
    pub(super) fn probe(&mut self, container: &str, kind: ProbeKind) {
        let Some(asker) = self.asker(container) else {
            return;
        };
        let Some(spec) = asker.subject.spec() else {
            return;
        };
        let probe = match kind {
            ProbeKind::Startup => &spec.startup_probe,
            ProbeKind::Readiness => &spec.readiness_probe,
            ProbeKind::Liveness => &spec.liveness_probe,
        };
        let rule = self
            .wish
            .container(container)
            .and_then(|wish| wish.rule(kind))
            .copied();
        let (Some(probe), Some(rule)) = (probe, rule) else {
            return;
        };
        let seconds = probe
            .timeout_seconds
            .and_then(|limit| u64::try_from(limit).ok());
        let limit = Duration::from_secs(seconds.unwrap_or(1).max(1));
        let ask = self.probe_ask(spec, probe);
        let first = self.record.memory.container(container).probe(kind).failures == 0;
        self.tasks.spawn(async move {
            let result = asker.ask(ask, limit).await;
            if let (Err(reason), true) = (&result, first) {
                asker.complain(
                    "Unhealthy",
                    &format!("{} probe failed: {reason}", kind.word()),
                );
            }
            let ok = result.is_ok();
            let threshold = if ok {
                rule.success_threshold
            } else {
                rule.failure_threshold
            };
            asker
                .tell(Event::Probed {
                    kind,
                    ok,
                    threshold,
                })
                .await;
        });
    }

    /// Runs the postStart hook.
    pub(super) fn post_start(&mut self, container: &str) {
        let ask = self.hook(container, |lifecycle| lifecycle.post_start.as_ref());
        let (Some(ask), Some(asker)) = (ask, self.asker(container)) else {
            return;
        };
        let grace = self.wish.grace;
        self.tasks.spawn(async move {
            let result = asker.ask(ask, POST_START).await;
            if let Err(reason) = &result {
                asker.complain(
                    "FailedPostStartHook",
                    &format!("postStart hook failed: {reason}"),
                );
            }
            let deadline = later(Timestamp::now(), grace);
            asker
                .tell(Event::PostStarted {
                    ok: result.is_ok(),
                    deadline,
                })
                .await;
        });
    }

    /// Runs the preStop hook, for as long as the container may live.
    pub(super) fn pre_stop(&mut self, container: &str, deadline: Timestamp) {
        let ask = self.hook(container, |lifecycle| lifecycle.pre_stop.as_ref());
        let (Some(ask), Some(asker)) = (ask, self.asker(container)) else {
            let rules = self.shared.config.backoff;
            return self
                .record
                .memory
                .record(container, Event::PreStopped, &rules);
        };
        let left = deadline.duration_since(Timestamp::now());
        let limit = Duration::try_from(left).unwrap_or(Duration::ZERO);
        self.tasks.spawn(async move {
            if let Err(reason) = asker.ask(ask, limit).await {
                asker.complain(
                    "FailedPreStopHook",
                    &format!("preStop hook failed: {reason}"),
                );
            }
            asker.tell(Event::PreStopped).await;
        });
    }

    fn asker(&self, container: &str) -> Option<Asker> {
        Some(Asker {
            subject: self.subject(container)?,
            shared: Arc::clone(&self.shared),
            outbox: self.outbox.clone(),
            attempt: self.record.memory.container(container).attempt,
            id: self.id_of(container),
        })
    }

    fn hook(
        &self,
        container: &str,
        pick: impl Fn(&Lifecycle) -> Option<&LifecycleHandler>,
    ) -> Option<Ask> {
        let subject = self.subject(container)?;
        let spec = subject.spec()?;
        let handler = pick(spec.lifecycle.as_ref()?)?;
        Some(if let Some(exec) = &handler.exec {
            self.command(container, exec)
        } else if let Some(http) = &handler.http_get {
            Ask::Check(self.http(spec, http))
        } else if let Some(sleep) = &handler.sleep {
            let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
            Ask::Check(Check::Sleep(Duration::from_secs(seconds)))
        } else {
            Ask::Check(Check::Impossible(
                "it is of a kind that cannot be run".to_owned(),
            ))
        })
    }

    fn probe_ask(&self, spec: &Container, probe: &Probe) -> Ask {
        if let Some(http) = &probe.http_get {
            return Ask::Check(self.http(spec, http));
        }
        if let Some(tcp) = &probe.tcp_socket {
            let host = host_or(tcp.host.as_ref(), self.record.address.into());
            let check = port(spec, &tcp.port)
                .map_or_else(|| no_port(&tcp.port), |port| Check::Tcp { host, port });
            return Ask::Check(check);
        }
        if let Some(exec) = &probe.exec {
            return self.command(&spec.name, exec);
        }
        let reason = "gRPC probes are not supported here: use httpGet, tcpSocket or exec";
        Ask::Check(Check::Impossible(reason.to_owned()))
    }

    fn http(&self, spec: &Container, http: &HTTPGetAction) -> Check {
        let Some(port) = port(spec, &http.port) else {
            return no_port(&http.port);
        };
        let scheme = http.scheme.as_deref().unwrap_or_default();
        let headers = http.http_headers.iter().flatten();
        Check::Http(HttpCheck {
            tls: scheme.eq_ignore_ascii_case("https"),
            host: host_or(http.host.as_ref(), self.record.address.into()),
            port,
            path: http.path.clone().unwrap_or_else(|| "/".to_owned()),
            headers: headers
                .map(|one| (one.name.clone(), one.value.clone()))
                .collect(),
        })
    }

    fn command(&self, container: &str, exec: &ExecAction) -> Ask {
        Ask::Command {
            argv: exec.command.clone().unwrap_or_default(),
            prepared: self.prepared.get(container).cloned(),
        }
    }
}

impl Asker {
    async fn ask(&self, ask: Ask, limit: Duration) -> Result<(), String> {
        let check = match ask {
            Ask::Check(check) => check,
            Ask::Command {
                argv,
                prepared: Some(prepared),
            } => self.beside(&prepared, &argv),
            Ask::Command {
                argv,
                prepared: None,
            } => {
                let prepared = self.shared.prepare(&self.subject).await;
                let prepared = Arc::new(prepared.map_err(|obstacle| obstacle.message)?);
                let check = self.beside(&prepared, &argv);
                let container = self.subject.container.clone();
                // A worker that has ended needs nothing any more.
                drop(
                    self.outbox
                        .send(Input::Prepared {
                            container,
                            prepared,
                        })
                        .await,
                );
                check
            }
        };
        check.run(limit).await
    }

    /// A command in the surroundings of the container, marked so that it is found should the agent be killed.
    fn beside(&self, prepared: &Prepared, argv: &[String]) -> Check {
        let mut env = prepared.env.clone();
        let dir = self.shared.config.state_dir.to_string_lossy().into_owned();
        env.insert(ENV_NODE_DIR.to_owned(), dir);
        env.insert(ENV_CONTAINER_ID.to_owned(), self.id.clone());
        env.insert(ENV_COMMAND.to_owned(), "1".to_owned());
        let argv = prepared.inside(argv);
        Check::Exec(ExecCheck {
            argv,
            env,
            cwd: prepared.cwd.clone(),
        })
    }

    fn complain(&self, reason: &str, message: &str) {
        let message = format!("container {}: {message}", self.subject.container);
        self.shared
            .tell(&self.subject.pod, Severity::Warning, reason, &message);
    }

    async fn tell(&self, event: Event) {
        let (container, attempt) = (self.subject.container.clone(), self.attempt);
        // A worker that has ended needs no news.
        drop(
            self.outbox
                .send(Input::Event {
                    container,
                    attempt,
                    event,
                })
                .await,
        );
    }
}

fn port(spec: &Container, wanted: &IntOrString) -> Option<u16> {
    match wanted {
        IntOrString::Int(port) => u16::try_from(*port).ok(),
        IntOrString::String(name) => {
            let named = spec
                .ports
                .iter()
                .flatten()
                .find(|port| port.name.as_ref() == Some(name));
            named.map_or_else(
                || name.parse().ok(),
                |port| u16::try_from(port.container_port).ok(),
            )
        }
    }
}

fn no_port(wanted: &IntOrString) -> Check {
    let name = match wanted {
        IntOrString::Int(port) => port.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    Check::Impossible(format!("the container has no port {name:?}"))
}
