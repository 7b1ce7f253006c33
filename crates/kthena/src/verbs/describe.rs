//! `kthena describe`.

use std::process::ExitCode;

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kthena_api::labels;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::Target;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Connection, Kind, Session, block_on, say, view};

const EXAMPLES: &str = "\
Examples:
  kthena describe modelserving llama
  kthena describe ms llama -n serving --kubeconfig \"$(kthena local kubeconfig)\"";

/// Flags of `kthena describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to describe
    kind: Kind,
    /// Which of them
    name: String,
    #[command(flatten)]
    connection: Connection,
}

/// Tells everything about one object.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    block_on(async {
        let session = args.connection.open().await?;
        let serving: ModelServing = serde_json::from_value(session.serving(&args.name).await?)?;
        let pods = pods_of(&session, &args.name).await?;
        let events = session.list(&Target::of::<Event>(), false, "").await?;
        let uid = serving.metadata.uid.clone().unwrap_or_default();
        let mut events: Vec<Event> = decode(events)?;
        events.retain(|event| event.involved_object.uid.as_deref() == Some(&uid));
        events.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
        say(&view::describe(&serving, &pods, &events, Timestamp::now()))?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Pods that carry the name of a ModelServing.
pub(super) async fn pods_of(session: &Session, name: &str) -> Result<Vec<Pod>> {
    let selector = format!("{}={name}", labels::MODEL_SERVING_NAME);
    decode(session.list(&Target::of::<Pod>(), false, &selector).await?)
}

pub(super) fn decode<T: DeserializeOwned>(objects: Vec<Value>) -> Result<Vec<T>> {
    let decoded = objects.into_iter().map(serde_json::from_value);
    Ok(decoded.collect::<Result<_, _>>()?)
}
