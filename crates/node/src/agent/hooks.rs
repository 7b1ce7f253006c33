//! The parts of a worker that ask something of a running container: probes and hooks.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kthena_cluster::events::Severity;

use super::check::{Check, ExecCheck, HttpCheck, host_or};
use super::worker::{Input, Worker, later};
use crate::plan::ProbeKind;
use crate::plan::memory::Event;
use crate::state::PodFolder;
use crate::supervisor::{ENV_CONTAINER_ID, ENV_NODE_DIR};

/// Longest postStart hook.
const POST_START: Duration = Duration::from_mins(10);

impl Worker {
    /// Runs a probe once.
    pub(super) fn probe(&mut self, container: &str, kind: ProbeKind) {
        let Some(spec) = self.spec(container) else {
            return;
        };
        let probe = match kind {
            ProbeKind::Startup => &spec.startup_probe,
            ProbeKind::Readiness => &spec.readiness_probe,
            ProbeKind::Liveness => &spec.liveness_probe,
        };
        let Some(probe) = probe else { return };
        let limit = Duration::from_secs(
            u64::try_from(probe.timeout_seconds.unwrap_or(1))
                .unwrap_or(1)
                .max(1),
        );
        let check = self.probe_check(&spec, probe);
        let Some(rule) = self
            .wish
            .container(container)
            .and_then(|wish| wish.rule(kind))
            .copied()
        else {
            return;
        };
        let attempt = self.record.memory.container(container).attempt;
        let first = self.record.memory.container(container).probe(kind).failures == 0;
        let (shared, outbox, pod) = (
            Arc::clone(&self.shared),
            self.outbox.clone(),
            Arc::clone(&self.pod),
        );
        let container = container.to_owned();
        self.tasks.spawn(async move {
            let result = check.run(limit).await;
            if let (Err(reason), true) = (&result, first) {
                let message = format!("{} probe failed: {reason}", kind.word());
                shared.tell(&pod, Severity::Warning, "Unhealthy", &message);
            }
            let threshold = if result.is_ok() {
                rule.success_threshold
            } else {
                rule.failure_threshold
            };
            let event = Event::Probed {
                kind,
                ok: result.is_ok(),
                threshold,
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

    /// Runs the postStart hook.
    pub(super) fn post_start(&mut self, container: &str) {
        let Some(check) = self.hook(container, |lifecycle| lifecycle.post_start.as_ref()) else {
            return;
        };
        let (shared, outbox, pod) = (
            Arc::clone(&self.shared),
            self.outbox.clone(),
            Arc::clone(&self.pod),
        );
        let (attempt, grace) = (
            self.record.memory.container(container).attempt,
            self.wish.grace,
        );
        let container = container.to_owned();
        self.tasks.spawn(async move {
            let result = check.run(POST_START).await;
            if let Err(reason) = &result {
                let message = format!("postStart hook of container {container} failed: {reason}");
                shared.tell(&pod, Severity::Warning, "FailedPostStartHook", &message);
            }
            let event = Event::PostStarted {
                ok: result.is_ok(),
                deadline: later(Timestamp::now(), grace),
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

    /// Runs the preStop hook, for as long as the container may live.
    pub(super) fn pre_stop(&mut self, container: &str, deadline: Timestamp) {
        let check = self.hook(container, |lifecycle| lifecycle.pre_stop.as_ref());
        let attempt = self.record.memory.container(container).attempt;
        let Some(check) = check else {
            self.record
                .memory
                .record(container, Event::PreStopped, &self.shared.config.backoff);
            return;
        };
        let limit =
            Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO);
        let (shared, outbox, pod) = (
            Arc::clone(&self.shared),
            self.outbox.clone(),
            Arc::clone(&self.pod),
        );
        let container = container.to_owned();
        self.tasks.spawn(async move {
            if let Err(reason) = check.run(limit).await {
                let message = format!("preStop hook of container {container} failed: {reason}");
                shared.tell(&pod, Severity::Warning, "FailedPreStopHook", &message);
            }
            drop(
                outbox
                    .send(Input::Event {
                        container,
                        attempt,
                        event: Event::PreStopped,
                    })
                    .await,
            );
        });
    }

    fn hook(
        &self,
        container: &str,
        pick: impl Fn(&Lifecycle) -> Option<&LifecycleHandler>,
    ) -> Option<Check> {
        let spec = self.spec(container)?;
        let handler = pick(spec.lifecycle.as_ref()?)?;
        Some(if let Some(exec) = &handler.exec {
            self.exec_check(container, exec)
        } else if let Some(http) = &handler.http_get {
            self.http_check(&spec, http)
        } else if let Some(sleep) = &handler.sleep {
            Check::Sleep(Duration::from_secs(
                u64::try_from(sleep.seconds).unwrap_or(0),
            ))
        } else {
            Check::Impossible("the hook is of a kind that cannot be run".to_owned())
        })
    }

    fn spec(&self, container: &str) -> Option<Container> {
        let spec = self.pod.spec.as_ref()?;
        let mut all = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers);
        all.find(|spec| spec.name == container).cloned()
    }

    fn probe_check(&self, spec: &Container, probe: &Probe) -> Check {
        if let Some(http) = &probe.http_get {
            return self.http_check(spec, http);
        }
        if let Some(tcp) = &probe.tcp_socket {
            let host = host_or(tcp.host.as_ref(), self.record.address.into());
            return match port(spec, &tcp.port) {
                Some(port) => Check::Tcp { host, port },
                None => no_port(&tcp.port),
            };
        }
        match &probe.exec {
            Some(exec) => self.exec_check(&spec.name, exec),
            None => Check::Impossible(
                "gRPC probes are not supported here: use httpGet, tcpSocket or exec".to_owned(),
            ),
        }
    }

    fn http_check(&self, spec: &Container, http: &HTTPGetAction) -> Check {
        let Some(port) = port(spec, &http.port) else {
            return no_port(&http.port);
        };
        let headers = http.http_headers.iter().flatten();
        Check::Http(HttpCheck {
            tls: http
                .scheme
                .as_deref()
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: host_or(http.host.as_ref(), self.record.address.into()),
            port,
            path: http.path.clone().unwrap_or_else(|| "/".to_owned()),
            headers: headers
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        })
    }

    /// A command beside the container; after a restart of the agent its surroundings are made anew from what is known.
    fn exec_check(&self, container: &str, exec: &ExecAction) -> Check {
        let argv = exec.command.clone().unwrap_or_default();
        let folder = PodFolder::new(&self.shared.config.state_dir, &self.record.uid);
        let (mut env, cwd, argv) = match self.prepared.get(container) {
            Some(prepared) => (
                prepared.env.clone(),
                prepared.cwd.clone(),
                prepared.inside(&argv),
            ),
            None => (
                self.shared.config.base_env.clone(),
                folder.path().to_owned(),
                argv,
            ),
        };
        env.insert(
            ENV_NODE_DIR.to_owned(),
            self.shared.config.state_dir.to_string_lossy().into_owned(),
        );
        env.insert(ENV_CONTAINER_ID.to_owned(), self.id_of(container));
        Check::Exec(ExecCheck { argv, env, cwd })
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
