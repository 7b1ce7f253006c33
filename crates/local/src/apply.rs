//! Manifests into the API server: first as a rehearsal of all of them, then for real.
//!
//! Faults are the server's own, so that local mode refuses what a cluster would refuse; here they only get their
//! file and line.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{
    Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, ValidationDirective,
};
use kube::core::{ApiResource, GroupVersionKind, Status, TypeMeta};
use kube::discovery::{Discovery, Scope};
use kube::{Client, Error, ResourceExt};

use crate::manifest::{Manifest, ManifestFault};

/// Who the fields of applied manifests belong to.
const FIELD_MANAGER: &str = "kthena-local";

/// What an apply did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// `kind/name`, with the namespace before it outside the default namespace.
    pub object: String,
}

/// Why manifests were not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The server refuses them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<ManifestFault>),
    /// The server cannot be asked.
    #[error("the API server: {0}")]
    Server(#[source] Box<Error>),
}

impl From<Error> for ApplyError {
    fn from(error: Error) -> Self {
        Self::Server(Box::new(error))
    }
}

/// Applies `manifests`, or none of them and says all that is wrong.
///
/// Namespaces that they name and that do not exist are made.
///
/// # Errors
///
/// Every fault of every manifest, or that the server cannot be asked.
pub async fn apply(client: &Client, manifests: &[Manifest]) -> Result<Vec<Applied>, ApplyError> {
    let (definitions, objects): (Vec<_>, Vec<_>) = manifests
        .iter()
        .partition(|manifest| manifest.kind() == "CustomResourceDefinition");
    let mut applied = write_all(client, &definitions).await?;
    ensure_namespaces(client, &objects).await?;
    applied.extend(write_all(client, &objects).await?);
    Ok(applied)
}

async fn write_all(client: &Client, manifests: &[&Manifest]) -> Result<Vec<Applied>, ApplyError> {
    if manifests.is_empty() {
        return Ok(Vec::new());
    }
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut faults = Vec::new();
    let mut writes = Vec::new();
    for manifest in manifests {
        match Write::of(manifest, &discovery) {
            Ok(write) => {
                faults.extend(write.send(client, Mode::Rehearsal).await?);
                writes.push(write);
            }
            Err(fault) => faults.push(fault),
        }
    }
    let mut applied = Vec::new();
    if faults.is_empty() {
        for write in writes {
            faults.extend(write.send(client, Mode::Real).await?);
            applied.push(Applied {
                object: write.title(),
            });
        }
    }
    if faults.is_empty() {
        Ok(applied)
    } else {
        Err(ApplyError::Refused(faults))
    }
}

async fn ensure_namespaces(client: &Client, manifests: &[&Manifest]) -> Result<(), Error> {
    let made: BTreeSet<&str> = manifests
        .iter()
        .filter(|manifest| manifest.kind() == "Namespace")
        .map(|manifest| manifest.name())
        .collect();
    let named: BTreeSet<&str> = manifests
        .iter()
        .map(|manifest| manifest.namespace())
        .collect();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in named.difference(&made) {
        if namespaces.get_opt(name).await?.is_none() {
            let metadata = ObjectMeta {
                name: Some((*name).to_owned()),
                ..ObjectMeta::default()
            };
            let namespace = Namespace {
                metadata,
                ..Namespace::default()
            };
            match namespaces.create(&PostParams::default(), &namespace).await {
                Err(Error::Api(status)) if status.reason == "AlreadyExists" => {}
                outcome => {
                    outcome?;
                }
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The server checks and stores nothing.
    Rehearsal,
    Real,
}

/// One manifest on its way.
struct Write<'a> {
    manifest: &'a Manifest,
    resource: ApiResource,
    scope: Scope,
    object: DynamicObject,
}

impl<'a> Write<'a> {
    fn of(manifest: &'a Manifest, discovery: &Discovery) -> Result<Self, ManifestFault> {
        if manifest.api_version().is_empty() || manifest.kind().is_empty() {
            return Err(manifest.fault("", "apiVersion and kind are required"));
        }
        let (group, version) = manifest
            .api_version()
            .rsplit_once('/')
            .unwrap_or(("", manifest.api_version()));
        let gvk = GroupVersionKind::gvk(group, version, manifest.kind());
        let Some((resource, capabilities)) = discovery.resolve_gvk(&gvk) else {
            return Err(manifest.fault("kind", unknown_kind(manifest, discovery)));
        };
        if manifest.name().is_empty() {
            return Err(manifest.fault("metadata", "metadata.name: Required value"));
        }
        let mut object: DynamicObject = serde_json::from_value(manifest.object.clone())
            .map_err(|error| manifest.fault("", error.to_string()))?;
        object.types = Some(TypeMeta {
            api_version: manifest.api_version().to_owned(),
            kind: manifest.kind().to_owned(),
        });
        Ok(Self {
            manifest,
            resource,
            scope: capabilities.scope,
            object,
        })
    }

    fn title(&self) -> String {
        let kind = self.resource.kind.to_lowercase();
        match self.manifest.namespace() {
            "default" => format!("{kind}/{}", self.object.name_any()),
            namespace => format!("{namespace}/{kind}/{}", self.object.name_any()),
        }
    }

    /// The faults the server finds; none if it takes the object.
    async fn send(&self, client: &Client, mode: Mode) -> Result<Vec<ManifestFault>, Error> {
        let api: Api<DynamicObject> = match self.scope {
            Scope::Cluster => Api::all_with(client.clone(), &self.resource),
            Scope::Namespaced => {
                Api::namespaced_with(client.clone(), self.manifest.namespace(), &self.resource)
            }
        };
        let mut params = PatchParams::apply(FIELD_MANAGER).force();
        params.dry_run = mode == Mode::Rehearsal;
        params.field_validation = Some(ValidationDirective::Strict);
        match api
            .patch(self.manifest.name(), &params, &Patch::Apply(&self.object))
            .await
        {
            Ok(_) => Ok(Vec::new()),
            Err(Error::Api(status)) => Ok(faults(self.manifest, &status)),
            Err(error) => Err(error),
        }
    }
}

fn unknown_kind(manifest: &Manifest, discovery: &Discovery) -> String {
    let served: BTreeSet<String> = discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources)
        .filter(|(resource, _)| resource.kind.eq_ignore_ascii_case(manifest.kind()))
        .map(|(resource, _)| format!("{} {}", resource.api_version, resource.kind))
        .collect();
    let hint = if served.is_empty() {
        "; `kubectl api-resources` lists what is served here, a CustomResourceDefinition adds to it"
            .to_owned()
    } else {
        format!(
            "; did you mean {}?",
            served.into_iter().collect::<Vec<_>>().join(" or ")
        )
    };
    format!(
        "no kind {:?} in {:?}{hint}",
        manifest.kind(),
        manifest.api_version()
    )
}

/// What a refusal says, field by field.
pub(crate) fn faults(manifest: &Manifest, status: &Status) -> Vec<ManifestFault> {
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    if !causes.is_empty() {
        return causes
            .iter()
            .map(|cause| {
                // What checks replica counts writes a leading dot.
                let field = cause.field.trim_start_matches('.');
                manifest.fault(field, format!("{field}: {}", cause.message))
            })
            .collect();
    }
    let listed: Vec<_> = fields_in(&status.message)
        .map(|(field, message)| manifest.fault(field, message))
        .collect();
    if listed.is_empty() {
        vec![manifest.fault("", status.message.clone())]
    } else {
        listed
    }
}

/// The single faults in a message that lists them: an admission refusal (`  - path: …` lines) or a strict decoding
/// error (`unknown field "path", unknown field "path"`).
fn fields_in(message: &str) -> impl Iterator<Item = (&str, String)> {
    let denied = message.lines().filter_map(|line| {
        let fault = line.trim_start().strip_prefix("- ")?;
        let (field, _) = fault.split_once(": ")?;
        Some((field, fault.to_owned()))
    });
    let unknown = message.split("unknown field ").skip(1).filter_map(|rest| {
        let field = rest.strip_prefix('"')?.split('"').next()?;
        Some((field, format!("{field}: unknown field")))
    });
    denied.chain(unknown)
}
