//! How containers stop: hook, SIGTERM, SIGKILL, and sidecars last.

use jiff::Timestamp;

use super::memory::{ContainerMemory, Life, PodMemory, PodStop, StopStage};
use super::wish::{ContainerWish, Part, PodWish};
use super::{Action, Plan, Signal, add};

/// One step of a container's stop: hook, SIGTERM, SIGKILL.
pub(super) fn step(
    plan: &mut Plan,
    wish: &ContainerWish,
    memory: &ContainerMemory,
    (stage, deadline): (StopStage, Timestamp),
    now: Timestamp,
) {
    if memory.life == Life::Starting || stage == StopStage::Killed {
        return;
    }
    let container = wish.name.clone();
    let overdue = now >= deadline;
    match stage {
        StopStage::Wanted if wish.pre_stop && !overdue => plan.act(Action::PreStop {
            container,
            deadline,
        }),
        StopStage::Asked if overdue => plan.act(Action::Signal {
            container,
            signal: Signal::Kill,
            deadline,
        }),
        StopStage::Asked => plan.wake(deadline),
        StopStage::Hook if !overdue => plan.wake(deadline),
        _ => plan.act(Action::Signal {
            container,
            signal: Signal::Term,
            deadline,
        }),
    }
}

/// Stops every container, sidecars after the others and in the opposite order of their start.
pub(super) fn pod(
    plan: &mut Plan,
    wish: &PodWish,
    memory: &PodMemory,
    stop: PodStop,
    now: Timestamp,
) {
    if !memory.is_live() {
        return plan.act(Action::Finish);
    }
    let mut mains_live = false;
    for container in wish
        .all()
        .filter(|container| container.part != Part::Sidecar)
    {
        let known = memory.container(&container.name);
        mains_live |= known.is_live();
        begin_or_step(plan, container, &known, stop.deadline, now);
    }
    if mains_live && now < stop.deadline {
        plan.wake(stop.deadline);
    } else {
        sidecars(plan, wish, memory, stop.deadline, now);
    }
}

pub(super) fn sidecars(
    plan: &mut Plan,
    wish: &PodWish,
    memory: &PodMemory,
    deadline: Timestamp,
    now: Timestamp,
) {
    for sidecar in wish
        .init
        .iter()
        .rev()
        .filter(|init| init.part == Part::Sidecar)
    {
        let known = memory.container(&sidecar.name);
        if known.is_live() {
            begin_or_step(plan, sidecar, &known, deadline, now);
            if now < deadline {
                return;
            }
        }
    }
}

/// The last container of the pod to end decides how long its sidecars may take.
pub(super) fn sidecar_deadline(wish: &PodWish, memory: &PodMemory, now: Timestamp) -> Timestamp {
    let ends = memory
        .containers
        .values()
        .filter_map(ContainerMemory::exit)
        .map(|exit| exit.finished_at);
    add(ends.max().unwrap_or(now), wish.grace)
}

fn begin_or_step(
    plan: &mut Plan,
    wish: &ContainerWish,
    memory: &ContainerMemory,
    deadline: Timestamp,
    now: Timestamp,
) {
    if memory.is_live() {
        let state = memory.stop.map_or((StopStage::Wanted, deadline), |stop| {
            (stop.stage, stop.deadline)
        });
        step(plan, wish, memory, state, now);
    }
}
