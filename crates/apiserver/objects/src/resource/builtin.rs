//! The particular rules of built-in resources: facts of the API server, resource by resource.

use super::{GenerationRule, GroupResource, Removal, Resource, Scope, SelectableField};

pub(super) fn rules(group: &str, resource: &str, kind: &str, scope: Scope) -> Resource {
    Resource {
        group_resource: GroupResource::new(group, resource),
        kind: kind.into(),
        scope,
        status: has_status(group, resource),
        generation: generation(group, resource),
        fields: fields(group, resource).into(),
        removal: match (group, resource) {
            ("", "pods") => Removal::PodGrace,
            ("", "namespaces") => Removal::NamespaceFinalizers,
            _ => Removal::Immediate,
        },
        custom: false,
        unconditional_update: !matches!(
            (group, resource),
            ("coordination.k8s.io", "leases")
                | ("apiextensions.k8s.io", "customresourcedefinitions")
                | ("apiregistration.k8s.io", "apiservices")
        ),
        create_on_update: matches!(
            (group, resource),
            ("", "events" | "limitranges" | "services" | "endpoints")
                | ("events.k8s.io", "events")
                | ("coordination.k8s.io", "leases")
        ),
        returns_deleted: matches!(
            (group, resource),
            (
                "",
                "pods"
                    | "services"
                    | "serviceaccounts"
                    | "persistentvolumes"
                    | "persistentvolumeclaims"
                    | "podtemplates"
                    | "resourcequotas"
            )
        ),
    }
}

fn has_status(group: &str, resource: &str) -> bool {
    matches!(
        (group, resource),
        (
            "",
            "pods"
                | "services"
                | "nodes"
                | "namespaces"
                | "replicationcontrollers"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "resourcequotas"
        ) | (
            "apps",
            "deployments" | "replicasets" | "statefulsets" | "daemonsets"
        ) | ("batch", "jobs" | "cronjobs")
            | ("autoscaling", "horizontalpodautoscalers")
            | ("policy", "poddisruptionbudgets")
            | ("networking.k8s.io", "ingresses")
            | ("apiextensions.k8s.io", "customresourcedefinitions")
            | ("apiregistration.k8s.io", "apiservices")
    )
}

fn generation(group: &str, resource: &str) -> GenerationRule {
    match (group, resource) {
        ("", "pods" | "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs" | "cronjobs")
        | ("policy", "poddisruptionbudgets")
        | ("networking.k8s.io", "ingresses" | "networkpolicies")
        | ("apiextensions.k8s.io", "customresourcedefinitions") => GenerationRule::Spec,
        ("discovery.k8s.io", "endpointslices")
        | ("scheduling.k8s.io", "priorityclasses")
        | (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => GenerationRule::AllButMetadata,
        _ => GenerationRule::None,
    }
}

fn fields(group: &str, resource: &str) -> Vec<SelectableField> {
    let paths: &[&str] = match (group, resource) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("apps", "replicasets") | ("", "replicationcontrollers") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        ("" | "events.k8s.io", "events") => return event_fields(),
        _ => &[],
    };
    paths
        .iter()
        .map(|path| SelectableField::at_path(path))
        .collect()
}

/// Events are stored in one form but read in two; each label looks in both places.
fn event_fields() -> Vec<SelectableField> {
    let mut fields = Vec::new();
    for leaf in [
        "kind",
        "namespace",
        "name",
        "uid",
        "apiVersion",
        "resourceVersion",
        "fieldPath",
    ] {
        let core = format!("involvedObject.{leaf}");
        let newer = format!("regarding.{leaf}");
        fields.push(SelectableField::new(&core, &[&core, &newer]));
        fields.push(SelectableField::new(&newer, &[&newer, &core]));
    }
    for label in ["reason", "type", "reportingController"] {
        fields.push(SelectableField::at_path(label));
    }
    fields.push(SelectableField::new(
        "reportingComponent",
        &["reportingComponent", "reportingController"],
    ));
    fields.push(SelectableField::new(
        "source",
        &[
            "source.component",
            "deprecatedSource.component",
            "reportingComponent",
            "reportingController",
        ],
    ));
    fields
}
