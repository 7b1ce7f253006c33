//! Runs in virtual time. They share nothing, so each core takes the next one until none is left.

use std::sync::{Mutex, PoisonError};
use std::thread;

use kthena_scheduling_sim::run::{Report, run as simulate};

use super::progress::Progress;
use super::scheduling::Plan;

/// All runs, in the order of the plan.
pub(super) fn run(plan: &Plan) -> Vec<Report> {
    let progress = Progress::new(plan.tasks.len());
    let order = Mutex::new(plan.tasks.iter().enumerate());
    let reports: Mutex<Vec<(usize, Report)>> = Mutex::default();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers.min(plan.tasks.len()) {
            scope.spawn(|| {
                loop {
                    let next = order.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((at, task)) = next else { return };
                    let workload = &plan.workloads[task.workload];
                    let mut share = 0.0;
                    let mut show = |done| {
                        progress.add(done - share);
                        share = done;
                    };
                    let report =
                        simulate(&task.fleet, &task.policy, workload, task.seed, &mut show);
                    progress.add(1.0 - share);
                    let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
                    reports.push((at, report));
                }
            });
        }
    });
    progress.finish();
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Seeds side by side, whoever was first.
    reports.sort_by_key(|(at, _)| *at);
    reports.into_iter().map(|(_, report)| report).collect()
}
