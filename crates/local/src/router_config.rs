//! What the router of local mode runs with.
//!
//! In a cluster a ConfigMap is mounted as the router's configuration file. Here the same ConfigMap, whatever its
//! namespace, is kept as a file in the state folder, which the router reads again when it changes.
//!
//! # Invariants
//!
//! - What manifests bring is checked before anything is applied, and its faults have file and line.
//! - Of several of them the first by namespace counts.

use std::io;
use std::path::Path;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kthena_cluster::{ObjectKey, Scope, Store, watch};
use kthena_router_proxy::{
    ConfigurationFaults, EventSource, KvConfig, KvSource, LocalTokenizer, SchedulingConfig,
    SchedulingFile, TokensConfig, read_configuration,
};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::layout::{Layout, LayoutError};
use crate::manifest::{Manifest, ManifestFault};

/// The ConfigMap and its key, as installations in a cluster name them.
const NAME: &str = "kthena-router-config";
const KEY: &str = "routerConfiguration";
/// Where vLLM publishes cache events unless it is told otherwise.
const EVENTS_PORT: u16 = 5557;
/// Bytes of the cache index.
const INDEX: usize = 256 << 20;

/// Why the router has no configuration.
#[derive(Debug, thiserror::Error)]
pub enum RouterConfigError {
    /// The ConfigMap cannot be read.
    #[error("the API server: {0}")]
    Client(#[from] Box<kube::Error>),
    /// It is faulty.
    #[error("configmap/{NAME}: {0}")]
    Faulty(#[from] ConfigurationFaults),
    /// It cannot be written as a file.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// What is wrong with the router's configuration where `manifests` bring one.
pub(crate) fn faults(manifests: &[Manifest]) -> Vec<ManifestFault> {
    let mut found = Vec::new();
    for manifest in manifests.iter().filter(|manifest| is_ours(manifest)) {
        let path = format!("data.{KEY}");
        match text_of(manifest).map(read_configuration) {
            Some(Err(faults)) => {
                found.extend(faults.iter().map(|fault| manifest.fault(&path, fault)));
            }
            Some(Ok(_)) => {}
            None => found.push(manifest.fault("data", format!("{path}: Required value"))),
        }
    }
    found
}

fn is_ours(manifest: &Manifest) -> bool {
    manifest.kind() == "ConfigMap" && manifest.name() == NAME
}

fn text_of(manifest: &Manifest) -> Option<&str> {
    manifest.object["data"][KEY].as_str()
}

/// How requests are placed: as `manifests` say, else as was applied before; and the file that will say otherwise.
pub(crate) async fn scheduling(
    layout: &Layout,
    manifests: &[Manifest],
    client: &Client,
) -> Result<SchedulingConfig, RouterConfigError> {
    let maps: Api<ConfigMap> = Api::all(client.clone());
    let named = ListParams::default().fields(&format!("metadata.name={NAME}"));
    let stored = maps.list(&named).await.map_err(Box::new)?;
    let stored = stored.items.into_iter().filter_map(|mut map| {
        let text = map.data.as_mut()?.remove(KEY)?;
        Some((map.namespace().unwrap_or_default(), text))
    });
    let mut found: Vec<(String, String)> = manifests
        .iter()
        .filter(|manifest| is_ours(manifest))
        .filter_map(|manifest| Some((manifest.namespace().to_owned(), text_of(manifest)?.into())))
        .collect();
    found.extend(stored);
    // What manifests say of a namespace stays before what it has.
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let text = found.into_iter().next().map(|(_, text)| text);
    let text = text.unwrap_or_default();
    let config = read_configuration(&text)?;
    let path = layout.router_configuration();
    Layout::write_private(&path, &text)?;
    let file = Some(SchedulingFile { path, text });
    Ok(SchedulingConfig { config, file })
}

/// Keeps the file as the ConfigMap is, until `stop`. Without a ConfigMap it stays as it is, as a mounted one would.
pub(crate) async fn follow(layout: Layout, client: Client, stop: CancellationToken) {
    let scope = Scope {
        fields: Some(format!("metadata.name={NAME}")),
        ..Scope::default()
    };
    let mut maps: Store<ConfigMap> = Store::default();
    let mut changes = Box::pin(watch(client, &scope));
    let path = layout.router_configuration();
    while let Some(Some(change)) = stop.run_until_cancelled(changes.next()).await {
        maps.apply(&change);
        if maps.is_synced()
            && let Some(text) = first(&maps)
            && let Err(error) = keep(&path, text)
        {
            tracing::error!(%error, "the router's configuration stays as it is");
        }
    }
}

fn first(maps: &Store<ConfigMap>) -> Option<&str> {
    let texts = maps.iter().filter_map(|(key, map)| {
        let text = map.data.as_ref()?.get(KEY)?;
        Some((key, text.as_str()))
    });
    let first = texts.min_by_key(|(key, _): &(&ObjectKey, _)| (*key).clone());
    first.map(|(_, text)| text)
}

fn keep(path: &Path, text: &str) -> Result<(), LayoutError> {
    match std::fs::read_to_string(path) {
        Ok(kept) if kept == text => Ok(()),
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(LayoutError::Io {
            path: path.to_owned(),
            source,
        }),
        _ => Layout::write_private(path, text),
    }
}

/// How it is found out what engines hold: each pod has an address of its own, so all publish at the usual port.
/// Nobody is listened to while no plugin wants to know.
pub(crate) fn kv(tokenizers: &[LocalTokenizer]) -> KvConfig {
    KvConfig {
        source: KvSource::Events(EventSource {
            port: EVENTS_PORT,
            ranks: 1,
            topic: String::new(),
            replay_port: None,
            budget: INDEX,
        }),
        tokens: TokensConfig {
            local: tokenizers.to_vec(),
            ..TokensConfig::default()
        },
    }
}
