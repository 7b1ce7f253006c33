//! Addresses behind names of Services and pods, asked for when a container starts.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, Service};
use kthena_cluster::ObjectKey;
use kube::Api;
use kube::api::ListParams;

use super::shared::Shared;
use crate::launch::names::HostName;

/// What is known about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It stands for this address.
    Address(IpAddr),
    /// It is one of the cluster's names, but nobody has an address for it yet.
    Pending(String),
    /// Nothing of that name exists.
    Unknown,
}

impl Shared {
    /// Looks a name up: first among the pods of this node, then as a Service, then as a pod.
    pub(crate) async fn look_up(&self, wanted: &HostName) -> Result<Answer, kube::Error> {
        let name = wanted.host.as_ref().unwrap_or(&wanted.name);
        let peer = ObjectKey::new(wanted.namespace.clone(), name.clone());
        if let Some(address) = self.holdings().peers.get(&peer) {
            return Ok(Answer::Address(IpAddr::V4(*address)));
        }
        let services: Api<Service> = Api::namespaced(self.client.clone(), &wanted.namespace);
        if let Some(service) = services.get_opt(&wanted.name).await? {
            return self.behind(&service, wanted).await;
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &wanted.namespace);
        let found = pods.get_opt(name).await?;
        Ok(match found {
            Some(pod) => address(&pod).map_or_else(
                || pending(wanted, "the pod has no address yet"),
                Answer::Address,
            ),
            None if wanted.certain => pending(wanted, "no Service and no pod of that name exists"),
            None => Answer::Unknown,
        })
    }

    async fn behind(&self, service: &Service, wanted: &HostName) -> Result<Answer, kube::Error> {
        let selector = service
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.clone())
            .unwrap_or_default();
        if selector.is_empty() {
            return Ok(pending(wanted, "its Service selects no pods"));
        }
        let labels: Vec<String> = selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &wanted.namespace);
        let mut found = pods
            .list(&ListParams::default().labels(&labels.join(",")))
            .await?
            .items;
        if let Some(host) = &wanted.host {
            found.retain(|pod| {
                let hostname = pod.spec.as_ref().and_then(|spec| spec.hostname.as_ref());
                hostname == Some(host) || pod.metadata.name.as_ref() == Some(host)
            });
        }
        found.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        found.sort_by_key(|pod| (!is_ready(pod), pod.metadata.name.clone()));
        let first = found.iter().find_map(address);
        Ok(first.map_or_else(
            || pending(wanted, "no pod of its Service has an address yet"),
            Answer::Address,
        ))
    }
}

fn pending(wanted: &HostName, why: &str) -> Answer {
    Answer::Pending(format!("waiting for the address of {}: {why}", wanted.text))
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref())
        .flatten();
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
