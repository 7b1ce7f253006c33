//! Decides what to do next about one pod: which container to start, probe, signal, and when to look again.
//!
//! [`plan`] is a function of the pod's wish, of what the node remembers and of the time. It does nothing itself:
//! the worker notes each action in the memory, carries it out and records what came of it.
//!
//! # Invariants
//!
//! - Containers start only after every init container before them has ended well and every sidecar has started.
//! - A container is never started while a process of it may exist.
//! - A stopping pod starts nothing, and [`Action::Finish`] comes only when none of its processes exists.
//! - Noting all actions and planning again at the same time gives no action twice.
//!
//! # Where to go next
//!
//! `wish` is the spec as read, `memory` the state, `handover` how it outlives the agent, `status` what users see.

pub mod backoff;
mod handover;
pub mod memory;
pub mod status;
mod stop;
#[cfg(test)]
mod tests;
pub mod wish;

use jiff::{SignedDuration, Timestamp};

use memory::{ContainerMemory, Life, PodMemory, PostStart, StopCause};
use wish::{ContainerWish, Part, PodWish};

/// The three probes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Holds the other two back until it has passed.
    Startup,
    /// Decides whether the container counts as ready.
    Readiness,
    /// Decides whether the container is restarted.
    Liveness,
}

impl ProbeKind {
    /// The word that events use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// The two signals a container may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ends it in its own way.
    Term,
    /// Ends it and all it has started.
    Kill,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a process for a container.
    Start {
        /// Which.
        container: String,
    },
    /// Run a probe once.
    Probe {
        /// Of which container.
        container: String,
        /// Which probe.
        kind: ProbeKind,
    },
    /// Run the postStart hook.
    PostStart {
        /// Of which container.
        container: String,
    },
    /// Begin the stop of one container because a probe failed too often.
    Stop {
        /// Which.
        container: String,
        /// When it is killed.
        deadline: Timestamp,
        /// The probe that failed.
        probe: ProbeKind,
    },
    /// Run the preStop hook.
    PreStop {
        /// Of which container.
        container: String,
        /// When the container is killed, hook or not.
        deadline: Timestamp,
    },
    /// Send a signal to the container's process group.
    Signal {
        /// Which container.
        container: String,
        /// Which signal.
        signal: Signal,
        /// When SIGKILL is due.
        deadline: Timestamp,
    },
    /// Nothing of the pod is left: remove its traces and, if it is being deleted, its object.
    Finish,
}

/// What a pod amounts to as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not every container has started yet.
    Pending,
    /// At least one container runs or is between two runs.
    Running,
    /// All ended well for good.
    Succeeded,
    /// All ended for good, one of them badly.
    Failed,
}

impl Phase {
    /// The word in `status.phase`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Whether nothing can follow.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What to do now, and when to ask again if nothing happens before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// The next moment at which time alone changes the answer.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
    }
}

/// Decides what to do about a pod at `now`.
pub fn plan(wish: &PodWish, memory: &PodMemory, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if let Some(stop) = memory.stop {
        stop::pod(&mut plan, wish, memory, stop, now);
        return plan;
    }
    if let Some(deadline) = active_deadline(wish, memory) {
        plan.wake(deadline);
    }
    let over = mains_are_done(wish, memory) || has_failed_init(wish, memory);
    for container in wish.all() {
        let known = memory.container(&container.name);
        if known.is_live() && !(over && container.part == Part::Sidecar) {
            tend(&mut plan, wish, container, &known, now);
        }
    }
    if over {
        let deadline = stop::sidecar_deadline(wish, memory, now);
        stop::sidecars(&mut plan, wish, memory, deadline, now);
    } else {
        start_due(&mut plan, wish, memory, now);
    }
    plan
}

/// The moment at which the pod has lived too long, if it has a limit.
pub fn active_deadline(wish: &PodWish, memory: &PodMemory) -> Option<Timestamp> {
    memory.accepted_at?.checked_add(wish.active_deadline?).ok()
}

/// What the pod amounts to.
pub fn phase(wish: &PodWish, memory: &PodMemory) -> Phase {
    let ended = !memory.is_live();
    let deadline = memory
        .stop
        .is_some_and(|stop| stop.cause == StopCause::Deadline);
    if has_failed_init(wish, memory) || deadline {
        return if ended { Phase::Failed } else { Phase::Running };
    }
    let stopping = memory
        .stop
        .is_some_and(|stop| stop.cause != StopCause::Shutdown);
    let mains: Vec<ContainerMemory> = wish
        .main
        .iter()
        .map(|main| memory.container(&main.name))
        .collect();
    let all_ended = mains.iter().all(|main| main.exit().is_some());
    if all_ended && ended && (stopping || mains_are_done(wish, memory)) {
        let well = mains
            .iter()
            .filter_map(ContainerMemory::exit)
            .all(|exit| exit.code == 0);
        return if well {
            Phase::Succeeded
        } else {
            Phase::Failed
        };
    }
    let begun = |main: &ContainerMemory| {
        main.attempt > 0 && main.life != Life::Starting || main.attempt > 1
    };
    if mains.iter().all(begun) {
        Phase::Running
    } else {
        Phase::Pending
    }
}

/// Whether all init containers have ended well and all sidecars have started, once.
pub fn is_initialized(wish: &PodWish, memory: &PodMemory) -> bool {
    wish.main
        .iter()
        .any(|main| memory.container(&main.name).attempt > 0)
        || wish
            .init
            .iter()
            .all(|init| init_is_done(init, &memory.container(&init.name)))
}

/// Whether a running container has passed its startup probe and its postStart hook.
pub fn has_started(wish: &ContainerWish, memory: &ContainerMemory) -> bool {
    matches!(memory.life, Life::Running { .. })
        && (wish.startup.is_none() || memory.stand_in || memory.startup.passed == Some(true))
        && (!wish.post_start || memory.post_start == PostStart::Done)
}

/// Whether a container counts as ready.
pub fn is_ready(wish: &ContainerWish, memory: &ContainerMemory) -> bool {
    has_started(wish, memory)
        && (wish.readiness.is_none() || memory.stand_in || memory.readiness.passed == Some(true))
}

fn init_is_done(wish: &ContainerWish, memory: &ContainerMemory) -> bool {
    match wish.part {
        Part::Sidecar => has_started(wish, memory),
        _ => memory.exit().is_some_and(|exit| exit.code == 0),
    }
}

fn is_done(wish: &ContainerWish, memory: &ContainerMemory) -> bool {
    memory
        .exit()
        .is_some_and(|exit| !wish.restart.restarts(exit.code))
}

fn mains_are_done(wish: &PodWish, memory: &PodMemory) -> bool {
    wish.main
        .iter()
        .all(|main| is_done(main, &memory.container(&main.name)))
}

fn has_failed_init(wish: &PodWish, memory: &PodMemory) -> bool {
    wish.init
        .iter()
        .filter(|init| init.part == Part::Init)
        .any(|init| {
            let known = memory.container(&init.name);
            is_done(init, &known) && known.exit().is_some_and(|exit| exit.code != 0)
        })
}

/// Starts what may start: the next init container, or all containers once those are through.
fn start_due(plan: &mut Plan, wish: &PodWish, memory: &PodMemory, now: Timestamp) {
    let initialized = is_initialized(wish, memory);
    for init in &wish.init {
        let known = memory.container(&init.name);
        if init_is_done(init, &known) {
            continue;
        }
        // Once the pod is initialized only sidecars come back; a finished init container never does.
        if !initialized || init.part == Part::Sidecar {
            start(plan, init, &known, now);
        }
        if !initialized {
            return;
        }
    }
    for main in &wish.main {
        start(plan, main, &memory.container(&main.name), now);
    }
}

fn start(plan: &mut Plan, wish: &ContainerWish, memory: &ContainerMemory, now: Timestamp) {
    if memory.is_live() || is_done(wish, memory) {
        return;
    }
    let retry = memory
        .retry_at
        .max(memory.blocked.as_ref().map(|blocked| blocked.until));
    match retry {
        Some(at) if at > now => plan.wake(at),
        _ => plan.act(Action::Start {
            container: wish.name.clone(),
        }),
    }
}

/// Looks after a live container: hooks, probes, and the stop that a failed probe brings.
fn tend(
    plan: &mut Plan,
    pod: &PodWish,
    wish: &ContainerWish,
    memory: &ContainerMemory,
    now: Timestamp,
) {
    if let Some(stop) = memory.stop {
        return stop::step(plan, wish, memory, (stop.stage, stop.deadline), now);
    }
    let Life::Running { started_at } = memory.life else {
        return;
    };
    if wish.post_start && memory.post_start == PostStart::Due {
        plan.act(Action::PostStart {
            container: wish.name.clone(),
        });
    }
    if memory.stand_in {
        return;
    }
    for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
        if wish.rule(kind).is_some() && memory.probe(kind).passed == Some(false) {
            let grace = wish
                .rule(kind)
                .and_then(|rule| rule.grace)
                .unwrap_or(pod.grace);
            let deadline = add(now, grace);
            return plan.act(Action::Stop {
                container: wish.name.clone(),
                deadline,
                probe: kind,
            });
        }
    }
    let started = wish.startup.is_none() || memory.startup.passed == Some(true);
    let kinds: &[ProbeKind] = if started {
        &[ProbeKind::Readiness, ProbeKind::Liveness]
    } else {
        &[ProbeKind::Startup]
    };
    for &kind in kinds {
        probe(plan, wish, memory, kind, started_at, now);
    }
}

fn probe(
    plan: &mut Plan,
    wish: &ContainerWish,
    memory: &ContainerMemory,
    kind: ProbeKind,
    started_at: Timestamp,
    now: Timestamp,
) {
    let known = memory.probe(kind);
    let Some(rule) = wish.rule(kind).filter(|_| !known.in_flight) else {
        return;
    };
    let first = add(started_at, rule.initial_delay);
    let due = known.last.map_or(first, |last| add(last, rule.period));
    if due <= now {
        plan.act(Action::Probe {
            container: wish.name.clone(),
            kind,
        });
    } else {
        plan.wake(due);
    }
}

fn add(at: Timestamp, delay: SignedDuration) -> Timestamp {
    at.checked_add(delay).unwrap_or(Timestamp::MAX)
}
