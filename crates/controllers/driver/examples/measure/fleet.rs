//! Many `ModelServing`s at once, then a controller that finds all of them as they should be.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams};

use crate::AnyError;
use crate::arguments::Arguments;
use crate::child::{Controller, Counts, Usage};
use crate::progress::Progress;
use crate::stage::Stage;

/// How long a new controller may need to look at everything once.
const STEADY_WITHIN: Duration = Duration::from_mins(2);

pub(crate) async fn run(arguments: &Arguments) -> Result<(), AnyError> {
    let stage = Stage::build(arguments.player).await?;
    let mut controller = Controller::start(stage.plane.kubeconfig())?;
    let mut progress = Progress::new(stage.client.clone(), arguments.groups);

    let started = Instant::now();
    stage.create(arguments).await?;
    let created = started.elapsed();
    progress
        .until_done(arguments.servings, 1, std::future::pending())
        .await?;
    let Arguments {
        servings, player, ..
    } = arguments;
    println!(
        "{} pods of {servings} ModelServings available after {:.1} s (objects created after {:.1} s, player {player:?})",
        arguments.pods(),
        started.elapsed().as_secs_f64(),
        created.as_secs_f64()
    );
    tell_usage("controller", controller.usage()?);
    tell_writes(controller.counts()?, *servings);
    println!("events: {}", events(&stage.client).await?);
    drop(controller);
    restart(&stage, arguments).await
}

/// A new controller looks at everything once and writes nothing.
async fn restart(stage: &Stage, arguments: &Arguments) -> Result<(), AnyError> {
    let started = Instant::now();
    let mut controller = Controller::start(stage.plane.kubeconfig())?;
    let wanted = u64::try_from(arguments.servings)?;
    let counts = loop {
        let counts = controller.counts()?;
        if counts.turns >= wanted {
            break counts;
        }
        if started.elapsed() > STEADY_WITHIN {
            return Err(format!("only {} turns after a restart", counts.turns).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    println!(
        "restart: everything looked at after {:.2} s, {} writes",
        started.elapsed().as_secs_f64(),
        counts.writes()
    );
    tell_usage("restarted controller", controller.usage()?);
    Ok(())
}

fn tell_usage(who: &str, usage: Usage) {
    println!(
        "{who}: {:.2} s of CPU, {:.1} MB resident, {:.1} MB at most",
        usage.cpu,
        megabytes(usage.resident),
        megabytes(usage.peak)
    );
}

fn megabytes(kilobytes: u64) -> f64 {
    f64::from(u32::try_from(kilobytes).unwrap_or(u32::MAX)) / 1024.0
}

fn tell_writes(counts: Counts, servings: usize) {
    let each = |count: u64| {
        f64::from(u32::try_from(count).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(servings.max(1)).unwrap_or(u32::MAX))
    };
    println!(
        "writes: {} pods, {} services, {} revisions, {} statuses ({:.2} per ModelServing); {} turns ({:.1} each)",
        counts.pods,
        counts.services,
        counts.revisions,
        counts.statuses,
        each(counts.statuses),
        counts.turns,
        each(counts.turns)
    );
}

/// Events of the controller, and how often they were written.
async fn events(client: &Client) -> Result<String, AnyError> {
    let api: Api<Event> = Api::namespaced(client.clone(), "default");
    let ours = ListParams::default().fields("source=modelserving-controller");
    let events = api.list(&ours).await?.items;
    let written: i32 = events.iter().map(|event| event.count.unwrap_or(1)).sum();
    Ok(format!("{} written {written} times", events.len()))
}
