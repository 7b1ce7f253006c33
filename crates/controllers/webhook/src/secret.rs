//! Where the certificate comes from: the Secret, else the files, else it is made and put into the Secret.
//!
//! # Invariants
//!
//! - Of several replicas that make one at the same time, the first wins and all serve it.
//! - Only a pair whose authority was made here is ever renewed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kthena_cluster::{ObjectKey, Target, WriteError, write};
use kube::Client;
use kube::api::Api;
use serde_json::json;

use crate::WebhookConfig;
use crate::pair::{self, Made, Pair, PairError};

/// What is served, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Material {
    pub(crate) pair: Pair,
    /// Certificates that the API server is to trust, PEM; `None` if somebody else tells it.
    pub(crate) authority: Option<String>,
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The Secret cannot be written.
    #[error("secret {0} cannot be written: {1}")]
    Write(String, #[source] WriteError),
    /// No pair can be made.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The Secret of somebody else lacks something, and there are no files.
    #[error("secret {0} does not contain {1}")]
    Incomplete(String, &'static str),
    /// Another replica was faster, and its Secret cannot be read yet.
    #[error("secret {0} was written by somebody else a moment ago")]
    Race(String),
}

/// A Secret as far as it matters here.
struct Stored {
    version: String,
    pair: Option<Pair>,
    authority: Option<String>,
}

/// Finds or makes what is to be served.
pub(crate) async fn acquire(
    client: &Client,
    config: &WebhookConfig,
) -> Result<Material, SecretError> {
    let secret = format!("{}/{}", config.namespace, config.secret);
    let names = pair::names(&config.service, &config.namespace);
    let now = Timestamp::now();
    let stored = match read(client, config).await {
        Ok(stored) => stored,
        Err(error) => {
            // Treated as absent, so that files still serve; making one will tell if it is there after all.
            tracing::warn!(%error, secret, "the webhook's secret cannot be read");
            None
        }
    };
    match stored {
        Some(Stored {
            version,
            pair: Some(pair),
            authority: Some(authority),
        }) => {
            let fault = pair.fault(&names, now);
            match fault.filter(|_| pair::is_ours(&authority)) {
                None => Ok(Material {
                    pair,
                    authority: Some(authority),
                }),
                Some(fault) => {
                    tracing::info!(fault, secret, "the webhook's certificate is renewed");
                    Ok(renew(client, config, &version, (pair, authority), &names).await)
                }
            }
        }
        Some(stored) => files(config, stored.authority).await.map_or_else(
            || match stored.pair {
                Some(pair) => Ok(Material {
                    pair,
                    authority: None,
                }),
                None => Err(SecretError::Incomplete(
                    secret.clone(),
                    "tls.crt and tls.key",
                )),
            },
            Ok,
        ),
        None => match files(config, None).await {
            Some(material) => Ok(material),
            None => make(client, config, &names, now, secret).await,
        },
    }
}

async fn read(client: &Client, config: &WebhookConfig) -> Result<Option<Stored>, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &config.namespace);
    let Some(secret) = secrets.get_opt(&config.secret).await? else {
        return Ok(None);
    };
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| {
        let bytes = data.get(key)?;
        let text = String::from_utf8(bytes.0.clone()).ok()?;
        Some(text).filter(|text| !text.is_empty())
    };
    let pair = text("tls.crt")
        .zip(text("tls.key"))
        .map(|(certificate, key)| Pair { certificate, key });
    Ok(Some(Stored {
        version: secret.metadata.resource_version.unwrap_or_default(),
        pair,
        authority: text("ca.crt"),
    }))
}

/// The files, if both are there.
async fn files(config: &WebhookConfig, authority: Option<String>) -> Option<Material> {
    let certificate = tokio::fs::read_to_string(&config.certificate).await.ok()?;
    let key = tokio::fs::read_to_string(&config.key).await.ok()?;
    Some(Material {
        pair: Pair { certificate, key },
        authority,
    })
}

async fn make(
    client: &Client,
    config: &WebhookConfig,
    names: &[String],
    now: Timestamp,
    secret: String,
) -> Result<Material, SecretError> {
    let made = Made::new(names, now)?;
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": config.secret, "namespace": config.namespace },
        "type": "kubernetes.io/tls",
        "data": data(&made.pair, &made.authority),
    });
    let target = Target::of::<Secret>();
    match write::create(client, &target, Some(&config.namespace), &object).await {
        Ok(_) => Ok(Material {
            pair: made.pair,
            authority: Some(made.authority),
        }),
        // The next look finds the winner's.
        Err(WriteError::AlreadyExists) => Err(SecretError::Race(secret)),
        Err(error) => Err(SecretError::Write(secret, error)),
    }
}

/// Replaces a pair of ours, if nobody else did so meanwhile. What cannot be replaced is served on.
async fn renew(
    client: &Client,
    config: &WebhookConfig,
    version: &str,
    (old, old_authority): (Pair, String),
    names: &[String],
) -> Material {
    let old_material = |pair| Material {
        pair,
        authority: Some(old_authority.clone()),
    };
    let made = match Made::new(names, Timestamp::now()) {
        Ok(made) => made,
        Err(error) => {
            tracing::error!(%error, "the webhook's certificate cannot be renewed");
            return old_material(old);
        }
    };
    // Replicas that still serve the old certificate stay trusted until they look again.
    let authority = format!("{}{}", made.authority, pair::first(&old_authority));
    let patch = json!({
        "metadata": { "resourceVersion": version },
        "data": data(&made.pair, &authority),
    });
    let key = ObjectKey::new(&*config.namespace, &*config.secret);
    match write::merge_patch(client, &Target::of::<Secret>(), &key, None, &patch).await {
        Ok(_) => Material {
            pair: made.pair,
            authority: Some(authority),
        },
        Err(error) => {
            tracing::warn!(%error, "the webhook's certificate is not renewed; the old one is served on");
            old_material(old)
        }
    }
}

fn data(pair: &Pair, authority: &str) -> serde_json::Value {
    json!({
        "tls.crt": STANDARD.encode(&pair.certificate),
        "tls.key": STANDARD.encode(&pair.key),
        "ca.crt": STANDARD.encode(authority),
    })
}
