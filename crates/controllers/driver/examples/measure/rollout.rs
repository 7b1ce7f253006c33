//! A rollout of everything under a controller that is killed again and again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use kthena_testkit::ledger::{Ledger, Promise};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::AnyError;
use crate::arguments::Arguments;
use crate::child::Controller;
use crate::progress::Progress;
use crate::stage::{self, Stage};

pub(crate) async fn run(arguments: &Arguments) -> Result<(), AnyError> {
    let stage = Stage::build(arguments.player).await?;
    let ledger = Arc::new(Mutex::new(Ledger::new(Promise {
        groups: arguments.groups,
        pods: arguments.group_size(),
        unavailable: 1,
    })));
    let watcher = tokio::spawn({
        let (ledger, client) = (Arc::clone(&ledger), stage.client.clone());
        async move { Ledger::keep(&ledger, client).await }
    });
    let mut progress = Progress::new(stage.client.clone(), arguments.groups);
    let first = Controller::start_shipped(stage.plane.kubeconfig())?;
    stage.create(arguments).await?;
    progress
        .until_done(arguments.servings, 1, std::future::pending())
        .await?;
    println!(
        "{} pods of {} ModelServings are there",
        arguments.pods(),
        arguments.servings
    );

    let started = Instant::now();
    let mut kills = 0;
    stage.update(arguments).await?;
    let killing = kill_again_and_again(&stage, first, arguments.life, &mut kills);
    progress.until_done(arguments.servings, 2, killing).await?;
    println!(
        "all replaced after {:.1} s; the controller was killed {kills} times",
        started.elapsed().as_secs_f64()
    );
    watcher.abort();
    judge(&stage, arguments, &ledger).await
}

/// Starts the controller anew whenever it has lived long enough.
async fn kill_again_and_again(
    stage: &Stage,
    mut controller: Controller,
    life: Duration,
    kills: &mut u32,
) -> AnyError {
    loop {
        tokio::time::sleep(life).await;
        drop(controller);
        *kills += 1;
        controller = match Controller::start_shipped(stage.plane.kubeconfig()) {
            Ok(controller) => controller,
            Err(error) => return error,
        };
    }
}

/// Compares the end with what it must be, and tells what was seen on the way.
async fn judge(
    stage: &Stage,
    arguments: &Arguments,
    ledger: &Mutex<Ledger>,
) -> Result<(), AnyError> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), "default");
    let found: BTreeSet<_> = pods
        .list(&ListParams::default())
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    let wanted: BTreeSet<_> = names(arguments).collect();
    let revisions: Api<ControllerRevision> = Api::namespaced(stage.client.clone(), "default");
    let revisions = revisions.list(&ListParams::default()).await?.items.len();
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "pods: {} of {} as expected, {} made in all ({} is the least), {revisions} revisions kept",
        found.intersection(&wanted).count(),
        wanted.len(),
        ledger.pods_seen(),
        2 * wanted.len()
    );
    println!(
        "fewest groups available of {}: {}; promises broken: {}",
        arguments.groups,
        ledger.least_available(),
        ledger.faults().len()
    );
    for fault in ledger.faults().iter().take(10) {
        println!("  {fault}");
    }
    if found != wanted || !ledger.faults().is_empty() {
        return Err("the rollout did not keep what was promised".into());
    }
    Ok(())
}

/// Names of all pods that there must be.
fn names(arguments: &Arguments) -> impl Iterator<Item = String> {
    let (groups, size) = (arguments.groups, arguments.group_size());
    (0..arguments.servings).flat_map(move |number| {
        let serving = stage::name(number);
        (0..groups).flat_map(move |group| {
            let serving = serving.clone();
            (0..size).map(move |index| format!("{serving}-{group}-decode-0-{index}"))
        })
    })
}
