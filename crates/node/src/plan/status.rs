//! What users see of a pod: phase, conditions and container states, from its wish and the node's memory.
//!
//! Conditions of other writers (readiness gates) are left to them: only those of the node are listed.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::memory::{ContainerMemory, Exit, Life, PodMemory, StopCause};
use super::wish::{ContainerWish, Part, PodWish};
use super::{Phase, has_started, is_initialized, is_ready, phase};

/// What the node knows beyond the pod and its memory.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Address of the pod.
    pub pod_ip: IpAddr,
    /// Address of the node.
    pub host_ip: IpAddr,
    /// The node is the only one: what it interrupts, it interrupts for all. Starting everything anew is then no
    /// restart that anybody has to make up for. With other nodes it is: the peers of an interrupted container live.
    pub is_alone: bool,
}

/// The status of `pod` at `now`. `before` is the status shown until now: a condition keeps its transition time
/// while it does not turn, so that equal facts give an equal status whenever it is asked for.
pub fn status(
    pod: &Pod,
    before: Option<&PodStatus>,
    wish: &PodWish,
    memory: &PodMemory,
    place: Place,
    now: Timestamp,
) -> PodStatus {
    let phase = phase(wish, memory);
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let of = |container: &ContainerWish| container_status(&uid, wish, container, memory, place);
    let ip = place.pod_ip.to_string();
    let host = place.host_ip.to_string();
    let init: Vec<ContainerStatus> = wish.init.iter().map(of).collect();
    let main: Vec<ContainerStatus> = wish.main.iter().map(of).collect();
    let deadline = memory
        .stop
        .is_some_and(|stop| stop.cause == StopCause::Deadline);
    PodStatus {
        phase: Some(phase.word().to_owned()),
        reason: deadline.then(|| "DeadlineExceeded".to_owned()),
        message: deadline
            .then(|| "the pod was active longer than activeDeadlineSeconds".to_owned()),
        host_ip: Some(host.clone()),
        host_ips: Some(vec![HostIP { ip: host }]),
        pod_ip: Some(ip.clone()),
        pod_ips: Some(vec![PodIP { ip }]),
        start_time: memory.accepted_at.map(time),
        observed_generation: pod.metadata.generation,
        conditions: Some(conditions(
            &Moment { pod, before, now },
            wish,
            memory,
            phase,
        )),
        init_container_statuses: (!init.is_empty()).then_some(init),
        container_statuses: Some(main),
        ..PodStatus::default()
    }
}

/// The identity of one life of a container; unique for ever.
pub fn container_id(uid: &str, container: &str, attempt: u32) -> String {
    format!("{uid}.{container}.{attempt}")
}

fn container_status(
    uid: &str,
    pod: &PodWish,
    wish: &ContainerWish,
    memory: &PodMemory,
    place: Place,
) -> ContainerStatus {
    let known = memory.container(&wish.name);
    let restarts = if place.is_alone {
        known.own_restarts()
    } else {
        known.restarts()
    };
    let id = (known.attempt > 0)
        .then(|| format!("kthena://{}", container_id(uid, &wish.name, known.attempt)));
    let (state, last) = states(pod, wish, &known, memory, id.as_deref());
    let ready = match wish.part {
        Part::Init => known.exit().is_some_and(|exit| exit.code == 0),
        _ => is_ready(wish, &known),
    };
    ContainerStatus {
        name: wish.name.clone(),
        image: wish.image.clone(),
        image_id: String::new(),
        container_id: id,
        ready,
        started: Some(has_started(wish, &known)),
        restart_count: i32::try_from(restarts).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: last,
        ..ContainerStatus::default()
    }
}

fn states(
    pod: &PodWish,
    wish: &ContainerWish,
    known: &ContainerMemory,
    memory: &PodMemory,
    id: Option<&str>,
) -> (ContainerState, Option<ContainerState>) {
    let last = known.last.as_ref().map(|exit| terminated(exit, None));
    match &known.life {
        Life::Running { started_at } => {
            let running = ContainerStateRunning {
                started_at: Some(time(*started_at)),
            };
            (
                ContainerState {
                    running: Some(running),
                    ..ContainerState::default()
                },
                last,
            )
        }
        Life::Exited(exit) => {
            let again = wish.restart.restarts(exit.code) && memory.stop.is_none();
            let finished_init = wish.part == Part::Init && exit.code == 0;
            let over = wish.part == Part::Sidecar && phase(pod, memory).is_final();
            if !again || finished_init || over {
                return (terminated(exit, id), last);
            }
            let state = match &known.blocked {
                Some(blocked) => waiting(&blocked.reason, Some(&blocked.message)),
                None if known.is_interrupted() => waiting("ContainerCreating", None),
                None => waiting("CrashLoopBackOff", Some(&backoff_message(known, exit))),
            };
            (state, Some(terminated(exit, id)))
        }
        Life::Never | Life::Starting => {
            let state = match &known.blocked {
                Some(blocked) => waiting(&blocked.reason, Some(&blocked.message)),
                None if wish.part == Part::Main && !is_initialized(pod, memory) => {
                    waiting("PodInitializing", None)
                }
                None => waiting("ContainerCreating", None),
            };
            (state, last)
        }
    }
}

fn backoff_message(known: &ContainerMemory, exit: &Exit) -> String {
    let delay = known
        .retry_at
        .map_or(0, |at| at.duration_since(exit.finished_at).as_secs());
    format!(
        "back-off {delay}s restarting the container, which ended with code {}",
        exit.code
    )
}

fn waiting(reason: &str, message: Option<&str>) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message: message.map(str::to_owned),
    };
    ContainerState {
        waiting: Some(waiting),
        ..ContainerState::default()
    }
}

fn terminated(exit: &Exit, id: Option<&str>) -> ContainerState {
    let terminated = ContainerStateTerminated {
        container_id: id.map(str::to_owned),
        exit_code: exit.code,
        signal: exit.signal,
        reason: Some(exit.reason.clone()),
        message: exit.message.clone(),
        started_at: Some(time(exit.started_at)),
        finished_at: Some(time(exit.finished_at)),
    };
    ContainerState {
        terminated: Some(terminated),
        ..ContainerState::default()
    }
}

fn conditions(
    moment: &Moment<'_>,
    wish: &PodWish,
    memory: &PodMemory,
    phase: Phase,
) -> Vec<PodCondition> {
    let initialized = is_initialized(wish, memory);
    let unready = unready_containers(wish, memory);
    let done = phase == Phase::Succeeded;
    let containers = match () {
        () if done => Err(("PodCompleted", String::new())),
        () if phase == Phase::Failed => Err(("PodFailed", String::new())),
        // Said at once, so that nobody sends anything to a container that is being stopped.
        () if memory.is_shutting_down() => {
            Err(("NodeShutdown", "the node is shutting down".to_owned()))
        }
        () if unready.is_empty() => Ok(()),
        () if is_interrupted(wish, memory) => Err((
            "NodeRestarted",
            "the containers went down with the node and are started again".to_owned(),
        )),
        () => Err((
            "ContainersNotReady",
            format!("containers with unready status: [{}]", unready.join(" ")),
        )),
    };
    let gate = wish.gates.iter().find(|gate| !holds(moment.pod, gate));
    let ready = match (&containers, gate) {
        (Ok(()), Some(gate)) => Err((
            "ReadinessGatesNotReady",
            format!("corresponding condition of pod readiness gate \"{gate}\" is not \"True\"."),
        )),
        (other, _) => (*other).clone(),
    };
    let init = match (initialized, done) {
        (true, true) => Err(("PodCompleted", String::new())),
        (true, false) => Ok(()),
        (false, _) => Err((
            "ContainersNotInitialized",
            "containers with incomplete status".to_owned(),
        )),
    };
    vec![
        moment.condition("PodScheduled", true, Ok(())),
        moment.condition("Initialized", initialized, init),
        moment.condition("ContainersReady", containers.is_ok(), containers),
        moment.condition("Ready", ready.is_ok(), ready),
    ]
}

fn unready_containers<'a>(wish: &'a PodWish, memory: &PodMemory) -> Vec<&'a str> {
    wish.all()
        .filter(|container| container.part != Part::Init)
        .filter(|container| !is_ready(container, &memory.container(&container.name)))
        .map(|container| container.name.as_str())
        .collect()
}

fn is_interrupted(wish: &PodWish, memory: &PodMemory) -> bool {
    wish.all()
        .any(|container| memory.container(&container.name).is_interrupted())
}

fn holds(pod: &Pod, gate: &str) -> bool {
    existing(pod.status.as_ref(), gate).is_some_and(|condition| condition.status == "True")
}

fn existing<'a>(status: Option<&'a PodStatus>, kind: &str) -> Option<&'a PodCondition> {
    status?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

struct Moment<'a> {
    pod: &'a Pod,
    before: Option<&'a PodStatus>,
    now: Timestamp,
}

impl Moment<'_> {
    /// A condition whose transition time moves only when its status turns.
    fn condition(&self, kind: &str, holds: bool, why: Result<(), (&str, String)>) -> PodCondition {
        let status = if holds { "True" } else { "False" };
        let before = existing(self.before, kind).filter(|condition| condition.status == status);
        let (reason, message) = why.err().map_or((None, None), |(reason, message)| {
            (
                Some(reason.to_owned()),
                (!message.is_empty()).then_some(message),
            )
        });
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason,
            message,
            last_transition_time: before
                .and_then(|condition| condition.last_transition_time.clone())
                .or_else(|| Some(time(self.now))),
            last_probe_time: None,
            observed_generation: self.pod.metadata.generation,
        }
    }
}

/// Whole seconds, as the API stores them.
fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
