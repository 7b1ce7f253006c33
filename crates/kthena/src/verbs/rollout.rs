//! `kthena rollout`: watch, hold, resume and take back a rollout.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kthena_api::labels;
use kthena_api::model_serving::{ModelServing, ModelServingStatus, Role};
use kthena_cluster::{ObjectKey, Target, write};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::describe::{decode, pods_of};
use super::view::{self, Revision, Rollout};
use super::{Connection, Kind, Session, block_on, say};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// What to do about a rollout.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  kthena rollout status ms llama --timeout 600
  kthena rollout pause ms llama
  kthena rollout history ms llama
  kthena rollout undo ms llama --to-revision 5d4f7c9b8")]
pub(crate) enum Command {
    /// Say how far it is, and wait until it is finished
    #[command(after_help = "\
The exit code is 0 once it is finished, 1 if it cannot finish by itself or not in time.

Examples:
  kthena rollout status ms llama
  kthena rollout status ms llama --no-wait
  kthena rollout status ms llama --timeout 600 && echo done")]
    Status {
        #[command(flatten)]
        subject: Subject,
        /// Only look once
        #[arg(long)]
        no_wait: bool,
        /// Seconds to wait at most; 0 = for ever
        #[arg(long, default_value_t = 0)]
        timeout: u64,
    },
    /// Replace nothing until it is resumed
    #[command(after_help = "\
Scaling and the recovery of lost pods go on.

Examples:
  kthena rollout pause modelserving llama")]
    Pause(Subject),
    /// Go on
    #[command(after_help = "\
Examples:
  kthena rollout resume modelserving llama")]
    Resume(Subject),
    /// Go back to the roles of a stored revision
    #[command(after_help = "\
Replica counts stay as they are. A revision is stored as long as a group runs it, and beyond that as many as
spec.revisionHistoryLimit says. `kthena rollout history` lists what is stored.

Examples:
  kthena rollout undo ms llama                            to the revision before
  kthena rollout undo ms llama --to-revision 5d4f7c9b8    see `kthena rollout history`")]
    Undo {
        #[command(flatten)]
        subject: Subject,
        /// Which one; without it, the one that is being replaced
        #[arg(long)]
        to_revision: Option<String>,
    },
    /// List the revisions that are stored, or show one
    #[command(after_help = "\
A revision is stored as long as a group runs it.

Examples:
  kthena rollout history modelserving llama
  kthena rollout history ms llama --revision 5d4f7c9b8")]
    History {
        #[command(flatten)]
        subject: Subject,
        /// Show the roles of this one
        #[arg(long)]
        revision: Option<String>,
    },
}

/// Whose rollout.
#[derive(Debug, clap::Args)]
pub(crate) struct Subject {
    /// What is rolled out
    kind: Kind,
    /// Which of them
    name: String,
    #[command(flatten)]
    connection: Connection,
}

/// Carries a command out.
pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    block_on(async {
        match command {
            Command::Status {
                subject,
                no_wait,
                timeout,
            } => {
                let patience = (*timeout > 0).then(|| Duration::from_secs(*timeout));
                return status(subject, *no_wait, patience).await;
            }
            Command::Pause(subject) => hold(subject, true).await?,
            Command::Resume(subject) => hold(subject, false).await?,
            Command::Undo {
                subject,
                to_revision,
            } => undo(subject, to_revision.as_deref()).await?,
            Command::History { subject, revision } => match revision {
                Some(revision) => show(subject, revision).await?,
                None => history(subject).await?,
            },
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn read(session: &Session, name: &str) -> Result<ModelServing> {
    Ok(serde_json::from_value(session.serving(name).await?)?)
}

async fn status(subject: &Subject, no_wait: bool, patience: Option<Duration>) -> Result<ExitCode> {
    let session = subject.connection.open().await?;
    let started = Instant::now();
    let mut last = String::new();
    loop {
        match view::rollout(&read(&session, &subject.name).await?) {
            Rollout::Done(text) => {
                say(&format!("{text}\n"))?;
                return Ok(ExitCode::SUCCESS);
            }
            Rollout::Stuck(text) => bail!("{text}"),
            Rollout::Waiting(text) => {
                if text != last {
                    say(&format!("{text}\n"))?;
                    last = text;
                }
            }
        }
        if no_wait {
            return Ok(ExitCode::SUCCESS);
        }
        if patience.is_some_and(|patience| started.elapsed() >= patience) {
            bail!("not finished in time: {last}");
        }
        sleep(INTERVAL).await;
    }
}

async fn patch(session: &Session, name: &str, patch: &Value) -> Result<()> {
    let key = ObjectKey::new(&*session.namespace, name);
    let target = Target::of::<ModelServing>();
    write::merge_patch(&session.client, &target, &key, None, patch).await?;
    Ok(())
}

async fn hold(subject: &Subject, is_paused: bool) -> Result<()> {
    let session = subject.connection.open().await?;
    let serving = read(&session, &subject.name).await?;
    let name = &subject.name;
    patch(&session, name, &pausing(&serving, is_paused)).await?;
    let done = if is_paused { "paused" } else { "resumed" };
    say(&format!("modelserving \"{name}\" {done}\n"))
}

/// A merge patch; a strategy must name its type.
fn pausing(serving: &ModelServing, is_paused: bool) -> Value {
    let kind = serving
        .spec
        .rollout_strategy
        .as_ref()
        .and_then(|strategy| strategy.kind);
    let paused = if is_paused { json!(true) } else { Value::Null };
    json!({ "spec": { "rolloutStrategy": { "type": kind.unwrap_or_default(), "paused": paused } } })
}

async fn snapshots(
    session: &Session,
    serving: &ModelServing,
) -> Result<BTreeMap<String, ControllerRevision>> {
    let name = serving.metadata.name.as_deref().unwrap_or_default();
    let selector = format!("{}={name}", labels::MODEL_SERVING_NAME);
    let target = Target::of::<ControllerRevision>();
    let all: Vec<ControllerRevision> = decode(session.list(&target, false, &selector).await?)?;
    let is_owned = |one: &ControllerRevision| {
        let mut owners = one.metadata.owner_references.iter().flatten();
        owners.any(|owner| Some(&owner.uid) == serving.metadata.uid.as_ref())
    };
    let named = all.into_iter().filter(is_owned).filter_map(|one| {
        let revision = one.metadata.labels.as_ref()?.get(labels::REVISION)?.clone();
        Some((revision, one))
    });
    Ok(named.collect())
}

/// The roles in a snapshot: `{"data": [role, …]}`, or the bare list.
fn roles_of(snapshot: &ControllerRevision) -> Result<Vec<Role>> {
    let data = snapshot.data.as_ref().map(|data| &data.0);
    let data = data.context("the revision has no data")?;
    let list = data.get("data").unwrap_or(data).clone();
    serde_json::from_value(list).context("the revision cannot be read")
}

async fn undo(subject: &Subject, to: Option<&str>) -> Result<()> {
    let session = subject.connection.open().await?;
    let serving = read(&session, &subject.name).await?;
    let stored = snapshots(&session, &serving).await?;
    let status = serving.status.clone().unwrap_or_default();
    let Some(target) = to.or_else(|| before(&status, &stored)) else {
        bail!(
            "all groups run revision {}, and none before it is stored: apply the manifest of the one before instead; \
             spec.revisionHistoryLimit says how many to keep from now on",
            status.update_revision
        );
    };
    let snapshot = found(&stored, target)?;
    let roles = restored(&serving.spec.template.roles, roles_of(snapshot)?);
    let body = json!({
        "metadata": { "resourceVersion": serving.metadata.resource_version },
        "spec": { "template": { "roles": roles } },
    });
    patch(&session, &subject.name, &body).await?;
    say(&format!(
        "modelserving \"{}\" goes back to revision {target}\n",
        subject.name
    ))
}

/// What runs while it is being replaced, else the last that was.
fn before<'s>(
    status: &'s ModelServingStatus,
    stored: &'s BTreeMap<String, ControllerRevision>,
) -> Option<&'s str> {
    if status.current_revision != status.update_revision {
        return Some(&status.current_revision);
    }
    let others = stored
        .iter()
        .filter(|(name, _)| **name != status.update_revision);
    let last = others.max_by_key(|(_, snapshot)| snapshot.revision)?;
    Some(last.0)
}

/// A revision that is stored, or what to do without it.
fn found<'s>(
    stored: &'s BTreeMap<String, ControllerRevision>,
    revision: &str,
) -> Result<&'s ControllerRevision> {
    let known: Vec<_> = stored.keys().map(String::as_str).collect();
    stored.get(revision).with_context(|| {
        format!(
            "revision {revision} is not stored; stored are: {}; spec.revisionHistoryLimit says how many to keep beyond \
             those that groups run",
            known.join(", ")
        )
    })
}

/// Shows the roles of one revision as they were written.
async fn show(subject: &Subject, revision: &str) -> Result<()> {
    let session = subject.connection.open().await?;
    let serving = read(&session, &subject.name).await?;
    let stored = snapshots(&session, &serving).await?;
    let snapshot = found(&stored, revision)?;
    say(&serde_yaml_ng::to_string(&roles_of(snapshot)?)?)
}

/// The older roles with the counts and limits of today: those are no part of a revision.
fn restored(today: &[Role], mut older: Vec<Role>) -> Vec<Role> {
    for role in &mut older {
        if let Some(now) = today.iter().find(|now| now.name == role.name) {
            role.replicas = now.replicas;
            role.max_unavailable.clone_from(&now.max_unavailable);
            role.partition.clone_from(&now.partition);
        }
    }
    older
}

async fn history(subject: &Subject) -> Result<()> {
    let session = subject.connection.open().await?;
    let serving = read(&session, &subject.name).await?;
    let pods = pods_of(&session, &subject.name).await?;
    let stored = snapshots(&session, &serving).await?;
    let mut revisions: BTreeMap<_, _> = stored
        .into_iter()
        .map(|(name, snapshot)| {
            let revision = Revision {
                number: snapshot.revision,
                created: snapshot
                    .metadata
                    .creation_timestamp
                    .as_ref()
                    .map(|time| time.0),
                images: roles_of(&snapshot)
                    .map(|roles| images(&roles))
                    .unwrap_or_default(),
            };
            (name, revision)
        })
        .collect();
    // Stored only once a group of it is made, which a pause puts off.
    let status = serving.status.as_ref();
    if let Some(status) = status.filter(|status| !status.update_revision.is_empty()) {
        let wanted = revisions.entry(status.update_revision.clone());
        wanted.or_insert_with(|| Revision {
            number: i64::MAX,
            created: None,
            images: images(&serving.spec.template.roles),
        });
    }
    say(&view::history(
        &serving,
        &revisions,
        &pods,
        Timestamp::now(),
    ))
}

fn images(roles: &[Role]) -> Vec<String> {
    let templates = roles
        .iter()
        .flat_map(|role| std::iter::once(&role.entry_template).chain(&role.worker_template));
    let containers = templates
        .filter_map(|template| template.spec.as_ref()?.get("containers")?.as_array())
        .flatten();
    let mut images: Vec<_> = containers
        .filter_map(|container| Some(container.get("image")?.as_str()?.to_owned()))
        .collect();
    images.sort();
    images.dedup();
    images
}

#[cfg(test)]
mod tests;
