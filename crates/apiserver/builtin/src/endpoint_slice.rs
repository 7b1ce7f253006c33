//! Plans the endpoint slices of one Service: which pods can be reached under it, at which ports.
//!
//! Pods that resolve the ports of the Service to different numbers, or have addresses of different families, are
//! in different slices. A slice holds at most [`LARGEST`] endpoints. A Service without pods has one empty slice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::identity::{joined, short_hash};
use crate::{pods, selector};

/// Most endpoints in one slice.
pub const LARGEST: usize = 100;
/// Label that names the Service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label that names the program that writes a slice; slices of others are left alone.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] for slices planned here.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Label on the slices of a headless Service.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// What the planner may look at.
#[derive(Debug, Clone)]
pub struct ServiceView {
    /// The Service.
    pub service: Arc<Service>,
    /// All pods of its namespace.
    pub pods: Vec<Arc<Pod>>,
    /// All slices of its namespace that name it.
    pub slices: Vec<Arc<EndpointSlice>>,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum SliceAction {
    /// Make this slice.
    Create(Box<EndpointSlice>),
    /// Give an existing slice this content.
    Replace(Box<EndpointSlice>),
    /// Delete a slice that is not needed, by name and uid.
    Delete(String, String),
}

/// Pods in one slice have the same of these.
type Group = (&'static str, Vec<(String, String, i32, Option<String>)>);

/// Lists what must change for the slices to show the pods of the Service.
pub fn plan(view: &ServiceView) -> Vec<SliceAction> {
    let service = &view.service;
    let own: Vec<&EndpointSlice> = view
        .slices
        .iter()
        .map(AsRef::as_ref)
        .filter(|slice| is_ours(slice))
        .collect();
    if service.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let Some(picks) = pod_selector(service) else {
        return Vec::new();
    };
    let wanted = wanted(view, picks);
    let mut actions = Vec::new();
    for slice in &wanted {
        let present = own
            .iter()
            .find(|own| own.metadata.name == slice.metadata.name);
        match present {
            None => actions.push(SliceAction::Create(Box::new(slice.clone()))),
            Some(present) if same_content(present, slice) => {}
            Some(_) => actions.push(SliceAction::Replace(Box::new(slice.clone()))),
        }
    }
    let names: BTreeSet<_> = wanted.iter().map(|slice| &slice.metadata.name).collect();
    let surplus = own
        .iter()
        .filter(|slice| !names.contains(&slice.metadata.name));
    actions.extend(surplus.map(|slice| {
        let metadata = &slice.metadata;
        SliceAction::Delete(
            metadata.name.clone().unwrap_or_default(),
            metadata.uid.clone().unwrap_or_default(),
        )
    }));
    actions
}

/// The selector of a Service that has one and points to pods.
pub(crate) fn pod_selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    let external = spec.type_.as_deref() == Some("ExternalName");
    spec.selector
        .as_ref()
        .filter(|selector| !external && !selector.is_empty())
}

fn is_ours(slice: &EndpointSlice) -> bool {
    let labels = slice.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(MANAGED_BY))
        .is_some_and(|manager| manager == MANAGER)
}

fn wanted(view: &ServiceView, picks: &BTreeMap<String, String>) -> Vec<EndpointSlice> {
    let service = &view.service;
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    let mut pods: Vec<&Pod> = view.pods.iter().map(AsRef::as_ref).collect();
    pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    for pod in pods.into_iter().filter(|pod| !pods::is_finished(pod)) {
        let labels = pod.metadata.labels.as_ref();
        if !labels.is_some_and(|labels| selector::has_all(picks, labels)) {
            continue;
        }
        let Some((family, address)) = address(pod) else {
            continue;
        };
        let endpoint = endpoint(service, pod, address);
        groups
            .entry((family, ports(service, pod)))
            .or_default()
            .push(endpoint);
    }
    if groups.is_empty() {
        groups.insert(("IPv4", Vec::new()), Vec::new());
    }
    groups
        .into_iter()
        .flat_map(|(group, endpoints)| slices(service, &group, &endpoints))
        .collect()
}

fn address(pod: &Pod) -> Option<(&'static str, String)> {
    let text = pod.status.as_ref()?.pod_ip.clone()?;
    match text.parse().ok()? {
        IpAddr::V4(_) => Some(("IPv4", text)),
        IpAddr::V6(_) => Some(("IPv6", text)),
    }
}

fn endpoint(service: &Service, pod: &Pod, address: String) -> Endpoint {
    let spec = pod.spec.as_ref();
    let publish = service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        == Some(true);
    let serving = pods::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let in_subdomain = spec
        .is_some_and(|spec| spec.subdomain.is_some() && spec.subdomain == service.metadata.name);
    Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(publish || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: spec
            .and_then(|spec| spec.hostname.clone())
            .filter(|_| in_subdomain),
        node_name: spec.and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// The ports of the Service as `pod` has them: name, protocol, number, application protocol. A port that the
/// pod does not name is left out.
fn ports(service: &Service, pod: &Pod) -> Vec<(String, String, i32, Option<String>)> {
    let listed = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    let resolved = listed.filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let number = target_port(port, &protocol, pod)?;
        Some((
            port.name.clone().unwrap_or_default(),
            protocol,
            number,
            port.app_protocol.clone(),
        ))
    });
    let mut resolved: Vec<_> = resolved.collect();
    resolved.sort();
    resolved
}

fn target_port(port: &ServicePort, protocol: &str, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter());
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let named = ports.find(|port| {
                port.name.as_ref() == Some(name)
                    && port.protocol.as_deref().unwrap_or("TCP") == protocol
            });
            named.map(|port| port.container_port)
        }
    }
}

fn slices(service: &Service, group: &Group, endpoints: &[Endpoint]) -> Vec<EndpointSlice> {
    let chunks: Vec<&[Endpoint]> = if endpoints.is_empty() {
        vec![endpoints]
    } else {
        endpoints.chunks(LARGEST).collect()
    };
    let number = |(number, chunk): (usize, &&[Endpoint])| slice(service, group, number, chunk);
    chunks.iter().enumerate().map(number).collect()
}

fn slice(service: &Service, group: &Group, number: usize, endpoints: &[Endpoint]) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    let uid = service.metadata.uid.clone().unwrap_or_default();
    let suffix = short_hash(&(&uid, group, number), 5);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
    {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let (family, ports) = group;
    let ports = ports
        .iter()
        .map(|(name, protocol, number, application)| EndpointPort {
            name: Some(name.clone()),
            protocol: Some(protocol.clone()),
            port: Some(*number),
            app_protocol: application.clone(),
        });
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(joined(&name, &suffix)),
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                name,
                uid,
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        address_type: (*family).to_owned(),
        endpoints: Some(endpoints.to_vec()),
        ports: Some(ports.collect()),
    }
}

fn same_content(present: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    let ports = |slice: &EndpointSlice| slice.ports.clone().unwrap_or_default();
    let endpoints = |slice: &EndpointSlice| slice.endpoints.clone().unwrap_or_default();
    endpoints(present) == endpoints(wanted)
        && ports(present) == ports(wanted)
        && present.metadata.labels == wanted.metadata.labels
}

#[cfg(test)]
mod tests;
