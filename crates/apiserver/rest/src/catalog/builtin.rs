//! The built-in resource types: names, scopes, subresources and where their schemas are.

use super::Subresource::{self, Binding, Eviction, Finalize, Log, Scale, Status};

/// One built-in type as written down.
#[derive(Debug)]
pub(crate) struct Builtin {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) namespaced: bool,
    pub(crate) subresources: &'static [Subresource],
    /// The name of its schema in the data file.
    pub(crate) schema: &'static str,
}

const NAMESPACED: bool = true;
const CLUSTER: bool = false;

macro_rules! builtins {
    ($($group:literal $version:literal $kind:literal $plural:literal $short:tt $categories:tt $scope:ident
        $subresources:tt $schema:literal;)*) => {
        &[$(Builtin {
            group: $group,
            version: $version,
            kind: $kind,
            plural: $plural,
            short_names: &$short,
            categories: &$categories,
            namespaced: $scope,
            subresources: &$subresources,
            schema: $schema,
        }),*]
    };
}

/// Every built-in type, in the order discovery shows them.
pub(crate) const BUILTINS: &[Builtin] = builtins! {
    "" "v1" "ConfigMap" "configmaps" ["cm"] [] NAMESPACED [] "io.k8s.api.core.v1.ConfigMap";
    "" "v1" "Endpoints" "endpoints" ["ep"] [] NAMESPACED [] "io.k8s.api.core.v1.Endpoints";
    "" "v1" "Event" "events" ["ev"] [] NAMESPACED [] "io.k8s.api.core.v1.Event";
    "" "v1" "Namespace" "namespaces" ["ns"] [] CLUSTER [Status, Finalize] "io.k8s.api.core.v1.Namespace";
    "" "v1" "Node" "nodes" ["no"] [] CLUSTER [Status] "io.k8s.api.core.v1.Node";
    "" "v1" "PersistentVolumeClaim" "persistentvolumeclaims" ["pvc"] [] NAMESPACED [Status]
        "io.k8s.api.core.v1.PersistentVolumeClaim";
    "" "v1" "Pod" "pods" ["po"] ["all"] NAMESPACED [Status, Log, Binding, Eviction] "io.k8s.api.core.v1.Pod";
    "" "v1" "Secret" "secrets" [] [] NAMESPACED [] "io.k8s.api.core.v1.Secret";
    "" "v1" "ServiceAccount" "serviceaccounts" ["sa"] [] NAMESPACED [] "io.k8s.api.core.v1.ServiceAccount";
    "" "v1" "Service" "services" ["svc"] ["all"] NAMESPACED [Status] "io.k8s.api.core.v1.Service";
    "apps" "v1" "ControllerRevision" "controllerrevisions" [] [] NAMESPACED []
        "io.k8s.api.apps.v1.ControllerRevision";
    "apps" "v1" "Deployment" "deployments" ["deploy"] ["all"] NAMESPACED [Status, Scale]
        "io.k8s.api.apps.v1.Deployment";
    "apps" "v1" "ReplicaSet" "replicasets" ["rs"] ["all"] NAMESPACED [Status, Scale]
        "io.k8s.api.apps.v1.ReplicaSet";
    "events.k8s.io" "v1" "Event" "events" ["ev"] [] NAMESPACED [] "io.k8s.api.events.v1.Event";
    "apiextensions.k8s.io" "v1" "CustomResourceDefinition" "customresourcedefinitions" ["crd", "crds"]
        ["api-extensions"] CLUSTER [Status]
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition";
    "authentication.k8s.io" "v1" "SelfSubjectReview" "selfsubjectreviews" [] [] CLUSTER []
        "io.k8s.api.authentication.v1.SelfSubjectReview";
    "authorization.k8s.io" "v1" "SelfSubjectAccessReview" "selfsubjectaccessreviews" [] [] CLUSTER []
        "io.k8s.api.authorization.v1.SelfSubjectAccessReview";
    "authorization.k8s.io" "v1" "SelfSubjectRulesReview" "selfsubjectrulesreviews" [] [] CLUSTER []
        "io.k8s.api.authorization.v1.SelfSubjectRulesReview";
    "coordination.k8s.io" "v1" "Lease" "leases" [] [] NAMESPACED [] "io.k8s.api.coordination.v1.Lease";
    "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" [] [] NAMESPACED []
        "io.k8s.api.discovery.v1.EndpointSlice";
};
