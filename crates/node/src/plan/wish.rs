//! The parts of a pod spec that decide when its containers start, stop and count as ready.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};

use super::ProbeKind;

/// Grace of a pod that names none, seconds.
const DEFAULT_GRACE: i64 = 30;

/// When an ended container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    Always,
    /// Only after a failure.
    OnFailure,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "Always" => Some(Self::Always),
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => None,
        }
    }

    /// Whether a container that ended with `code` is started again.
    pub fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that stays: it must have started before the next one starts.
    Sidecar,
    /// One of the pod's containers proper.
    Main,
}

/// The numbers of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeRule {
    /// From the start of the container to the first run.
    pub initial_delay: SignedDuration,
    /// From one run to the next.
    pub period: SignedDuration,
    /// Successes in a row that turn a failing probe.
    pub success_threshold: u32,
    /// Failures in a row that turn a passing probe.
    pub failure_threshold: u32,
    /// Grace of a stop that this probe causes, when it differs from the pod's.
    pub grace: Option<SignedDuration>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerWish {
    /// Its name, unique in the pod.
    pub name: String,
    /// Its image, as written.
    pub image: String,
    /// What it is for.
    pub part: Part,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Startup probe.
    pub startup: Option<ProbeRule>,
    /// Readiness probe.
    pub readiness: Option<ProbeRule>,
    /// Liveness probe.
    pub liveness: Option<ProbeRule>,
    /// Whether something has to be run before SIGTERM.
    pub pre_stop: bool,
    /// Whether something has to be run right after the start.
    pub post_start: bool,
}

impl ContainerWish {
    /// The rule of one probe.
    pub fn rule(&self, kind: ProbeKind) -> Option<&ProbeRule> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodWish {
    /// Init containers and sidecars, in the order they start.
    pub init: Vec<ContainerWish>,
    /// Containers.
    pub main: Vec<ContainerWish>,
    /// From SIGTERM (or the preStop hook) to SIGKILL.
    pub grace: SignedDuration,
    /// Longest life of the pod.
    pub active_deadline: Option<SignedDuration>,
    /// Condition types that must be `True` before the pod is ready.
    pub gates: Vec<String>,
}

impl PodWish {
    /// Reads the wish out of a pod; what the API server defaults is defaulted alike.
    pub fn of(pod: &Pod) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let policy =
            RestartPolicy::parse(spec.restart_policy.as_deref()).unwrap_or(RestartPolicy::Always);
        let init = spec.init_containers.unwrap_or_default();
        Self {
            init: init
                .iter()
                .map(|container| init_wish(container, policy))
                .collect(),
            main: spec
                .containers
                .iter()
                .map(|container| wish(container, Part::Main, policy))
                .collect(),
            grace: seconds(
                spec.termination_grace_period_seconds
                    .unwrap_or(DEFAULT_GRACE),
            ),
            active_deadline: spec.active_deadline_seconds.map(seconds),
            gates: spec
                .readiness_gates
                .unwrap_or_default()
                .into_iter()
                .map(|gate| gate.condition_type)
                .collect(),
        }
    }

    /// All containers in the order they start.
    pub fn all(&self) -> impl Iterator<Item = &ContainerWish> {
        self.init.iter().chain(&self.main)
    }

    /// The container of that name.
    pub fn container(&self, name: &str) -> Option<&ContainerWish> {
        self.all().find(|container| container.name == name)
    }
}

fn init_wish(container: &Container, policy: RestartPolicy) -> ContainerWish {
    if container.restart_policy.as_deref() == Some("Always") {
        return wish(container, Part::Sidecar, RestartPolicy::Always);
    }
    // An init container that ended well is never repeated, so `Always` means `OnFailure` for it.
    let policy = match policy {
        RestartPolicy::Always => RestartPolicy::OnFailure,
        other => other,
    };
    wish(container, Part::Init, policy)
}

fn wish(container: &Container, part: Part, policy: RestartPolicy) -> ContainerWish {
    let lifecycle = container.lifecycle.as_ref();
    let own = RestartPolicy::parse(container.restart_policy.as_deref());
    ContainerWish {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        part,
        restart: own.filter(|_| part == Part::Main).unwrap_or(policy),
        startup: container.startup_probe.as_ref().map(rule),
        readiness: container.readiness_probe.as_ref().map(rule),
        liveness: container.liveness_probe.as_ref().map(rule),
        pre_stop: lifecycle.is_some_and(|hooks| hooks.pre_stop.is_some()),
        post_start: lifecycle.is_some_and(|hooks| hooks.post_start.is_some()),
    }
}

fn rule(probe: &Probe) -> ProbeRule {
    let count = |value: Option<i32>, default: u32| match value {
        Some(value) if value > 0 => value.unsigned_abs(),
        _ => default,
    };
    ProbeRule {
        initial_delay: seconds(i64::from(probe.initial_delay_seconds.unwrap_or(0))),
        period: seconds(i64::from(count(probe.period_seconds, 10))),
        success_threshold: count(probe.success_threshold, 1),
        failure_threshold: count(probe.failure_threshold, 3),
        grace: probe.termination_grace_period_seconds.map(seconds),
    }
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count.max(0))
}
