//! Finds the API server and builds the one client.
//!
//! Order: an explicit kubeconfig, else the service account of the pod, else the files of `KUBECONFIG`, else
//! `~/.kube/config`. A server given by the caller overrides the address from any of them.

use std::path::PathBuf;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::throttle::{RequestRate, ThrottleLayer};

/// How to reach the API server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientConfig {
    /// A kubeconfig file; absent = look for credentials.
    pub kubeconfig: Option<PathBuf>,
    /// Address of the server; absent = as the credentials say.
    pub master: Option<String>,
    /// Most requests to send; absent = as many as the server takes.
    pub rate: Option<RequestRate>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file that was asked for cannot be used.
    #[error("kubeconfig {path} cannot be used: {source}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// No credentials were found anywhere.
    #[error(
        "no way to reach a Kubernetes API server: not running in a pod, and no usable kubeconfig \
         in KUBECONFIG or ~/.kube/config ({source}); point KUBECONFIG at one"
    )]
    NoCredentials {
        /// What was wrong with the last place looked at.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The given server address is no URL.
    #[error("server address {address:?} is not a URL: {source}")]
    Master {
        /// As given.
        address: String,
        /// What is wrong with it.
        #[source]
        source: http::uri::InvalidUri,
    },
    /// Credentials were found but no client can be made of them.
    #[error("credentials cannot be used: {0}")]
    Build(#[source] Box<kube::Error>),
}

/// Builds the client. Does not talk to the server yet.
pub async fn connect(config: &ClientConfig) -> Result<Client, ClientError> {
    let mut found = locate(config).await?;
    if let Some(address) = &config.master {
        found.cluster_url = parse_address(address)?;
    }
    let builder =
        ClientBuilder::try_from(found).map_err(|error| ClientError::Build(Box::new(error)))?;
    Ok(match config.rate {
        Some(rate) => builder.with_layer(&ThrottleLayer(rate)).build(),
        None => builder.build(),
    })
}

async fn locate(config: &ClientConfig) -> Result<Config, ClientError> {
    let options = KubeConfigOptions::default();
    if let Some(path) = &config.kubeconfig {
        let failed = |source| ClientError::Kubeconfig {
            path: path.clone(),
            source: Box::new(source),
        };
        let file = Kubeconfig::read_from(path).map_err(failed)?;
        return Config::from_custom_kubeconfig(file, &options)
            .await
            .map_err(failed);
    }
    if let Ok(found) = Config::incluster() {
        return Ok(found);
    }
    match (Config::from_kubeconfig(&options).await, &config.master) {
        (Ok(found), _) => Ok(found),
        // Nothing but an address: a server that asks for no credentials.
        (Err(_), Some(address)) => Ok(Config::new(parse_address(address)?)),
        (Err(source), None) => Err(ClientError::NoCredentials {
            source: Box::new(source),
        }),
    }
}

fn parse_address(address: &str) -> Result<http::Uri, ClientError> {
    address.parse().map_err(|source| ClientError::Master {
        address: address.to_owned(),
        source,
    })
}
