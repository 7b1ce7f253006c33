//! The environment of a container: `env`, `envFrom` and all their sources.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVarSource, Pod, ResourceFieldSelector, Secret,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::expand::expand;
use crate::machine::quantity;
use crate::machine::request::Amount;

/// What the values of a container may come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Address of the pod.
    pub pod_ip: &'a str,
    /// Address of the node.
    pub host_ip: &'a str,
    /// Name of the node.
    pub node_name: &'a str,
    /// What the node has; stands in for a limit that is not set.
    pub node: Amount,
    /// `ConfigMap`s of the namespace that exist, by name.
    pub config_maps: &'a BTreeMap<String, ConfigMap>,
    /// Secrets of the namespace that exist, by name.
    pub secrets: &'a BTreeMap<String, Secret>,
}

/// A value that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A required ConfigMap or Secret does not exist.
    #[error("{kind} {name:?} not found")]
    NoObject {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It exists but lacks the key.
    #[error("couldn't find key {key} in {kind} {name:?}")]
    NoKey {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// The field or resource does not exist or is not supported here.
    #[error("environment variable {variable}: {path:?} is not a field that this node can give")]
    Field {
        /// The variable.
        variable: String,
        /// What was asked.
        path: String,
    },
}

/// The variables that the container asks for, `$(VAR)` expanded as Kubernetes does.
pub fn resolve(
    container: &Container,
    sources: &Sources<'_>,
) -> Result<BTreeMap<String, String>, EnvError> {
    let mut result = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let pairs = match (&source.config_map_ref, &source.secret_ref) {
            (Some(wanted), _) => sources.whole_config_map(&wanted.name, wanted.optional)?,
            (_, Some(wanted)) => sources.whole_secret(&wanted.name, wanted.optional)?,
            _ => BTreeMap::new(),
        };
        result.extend(
            pairs
                .into_iter()
                .map(|(key, value)| (format!("{prefix}{key}"), value)),
        );
    }
    // References see only variables of `env` that stand before them; those of `envFrom` are not seen.
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => {
                Some(expand(value, |name| seen.get(name).map(String::as_str)))
            }
            (_, Some(from)) => sources.value(&variable.name, from, container)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            seen.insert(variable.name.clone(), value);
        }
    }
    result.extend(seen);
    Ok(result)
}

impl Sources<'_> {
    fn value(
        &self,
        variable: &str,
        from: &EnvVarSource,
        container: &Container,
    ) -> Result<Option<String>, EnvError> {
        let unknown = |path: &str| EnvError::Field {
            variable: variable.to_owned(),
            path: path.to_owned(),
        };
        if let Some(field) = &from.field_ref {
            return self
                .field(&field.field_path)
                .map(Some)
                .ok_or_else(|| unknown(&field.field_path));
        }
        if let Some(resource) = &from.resource_field_ref {
            return self
                .resource(container, resource)
                .map(Some)
                .ok_or_else(|| unknown(&resource.resource));
        }
        if let Some(wanted) = &from.config_map_key_ref {
            let found = self.config_maps.get(&wanted.name);
            let value = found.and_then(|map| map.data.as_ref()?.get(&wanted.key).cloned());
            let origin = Origin {
                kind: "configmap",
                name: &wanted.name,
                key: &wanted.key,
            };
            return origin.check(found.is_some(), value, wanted.optional);
        }
        if let Some(wanted) = &from.secret_key_ref {
            let found = self.secrets.get(&wanted.name);
            let value = found.and_then(|secret| secret.data.as_ref()?.get(&wanted.key));
            let value = value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
            let origin = Origin {
                kind: "secret",
                name: &wanted.name,
                key: &wanted.key,
            };
            return origin.check(found.is_some(), value, wanted.optional);
        }
        Err(unknown("valueFrom"))
    }

    /// The value of a downward API field.
    pub fn field(&self, path: &str) -> Option<String> {
        let meta = &self.pod.metadata;
        let spec = self.pod.spec.as_ref();
        if let Some((field, key)) = path
            .strip_suffix("']")
            .and_then(|path| path.split_once("['"))
        {
            let map = match field {
                "metadata.labels" => meta.labels.as_ref(),
                "metadata.annotations" => meta.annotations.as_ref(),
                _ => return None,
            };
            return Some(
                map.and_then(|map| map.get(key).cloned())
                    .unwrap_or_default(),
            );
        }
        match path {
            "metadata.name" => meta.name.clone(),
            "metadata.namespace" => meta.namespace.clone(),
            "metadata.uid" => meta.uid.clone(),
            "metadata.labels" => Some(lines(meta.labels.as_ref())),
            "metadata.annotations" => Some(lines(meta.annotations.as_ref())),
            "spec.nodeName" => Some(self.node_name.to_owned()),
            "spec.serviceAccountName" => Some(
                spec.and_then(|spec| spec.service_account_name.clone())
                    .unwrap_or_default(),
            ),
            "status.hostIP" | "status.hostIPs" => Some(self.host_ip.to_owned()),
            "status.podIP" | "status.podIPs" => Some(self.pod_ip.to_owned()),
            _ => None,
        }
    }

    /// The value of a resource field of `container`, divided and rounded up.
    pub fn resource(
        &self,
        container: &Container,
        wanted: &ResourceFieldSelector,
    ) -> Option<String> {
        let (list, resource) = wanted.resource.split_once('.')?;
        let resources = container.resources.as_ref();
        let limit = resources.and_then(|all| all.limits.as_ref()?.get(resource));
        let request = resources.and_then(|all| all.requests.as_ref()?.get(resource));
        let found = match list {
            "limits" => limit,
            "requests" => request.or(limit),
            _ => return None,
        };
        let value = match (found, resource) {
            (Some(found), _) => quantity::nano(found)?,
            (None, "cpu") if list == "limits" => i128::from(self.node.cpu_milli) * 1_000_000,
            (None, "memory") if list == "limits" => i128::from(self.node.memory) * 1_000_000_000,
            (None, "cpu" | "memory" | "ephemeral-storage") => 0,
            _ => return None,
        };
        let one = Quantity("1".to_owned());
        let divisor = wanted
            .divisor
            .as_ref()
            .and_then(quantity::nano)
            .filter(|divisor| *divisor > 0);
        let divisor = divisor.or_else(|| quantity::nano(&one))?;
        Some(quantity::divide_up(value, divisor).to_string())
    }

    fn whole_config_map(
        &self,
        name: &str,
        optional: Option<bool>,
    ) -> Result<BTreeMap<String, String>, EnvError> {
        match self.config_maps.get(name) {
            Some(map) => Ok(map.data.clone().unwrap_or_default()),
            None if optional == Some(true) => Ok(BTreeMap::new()),
            None => Err(EnvError::NoObject {
                kind: "configmap",
                name: name.to_owned(),
            }),
        }
    }

    fn whole_secret(
        &self,
        name: &str,
        optional: Option<bool>,
    ) -> Result<BTreeMap<String, String>, EnvError> {
        match self.secrets.get(name) {
            Some(secret) => {
                let data = secret.data.iter().flatten();
                Ok(data
                    .map(|(key, value)| {
                        (key.clone(), String::from_utf8_lossy(&value.0).into_owned())
                    })
                    .collect())
            }
            None if optional == Some(true) => Ok(BTreeMap::new()),
            None => Err(EnvError::NoObject {
                kind: "secret",
                name: name.to_owned(),
            }),
        }
    }
}

struct Origin<'a> {
    kind: &'static str,
    name: &'a str,
    key: &'a str,
}

impl Origin<'_> {
    fn check(
        &self,
        exists: bool,
        value: Option<String>,
        optional: Option<bool>,
    ) -> Result<Option<String>, EnvError> {
        match value {
            Some(value) => Ok(Some(value)),
            None if optional == Some(true) => Ok(None),
            None if exists => Err(EnvError::NoKey {
                kind: self.kind,
                name: self.name.to_owned(),
                key: self.key.to_owned(),
            }),
            None => Err(EnvError::NoObject {
                kind: self.kind,
                name: self.name.to_owned(),
            }),
        }
    }
}

/// Labels or annotations as the downward API writes them: one `key="value"` per line.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let pairs = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value:?}"));
    pairs.collect::<Vec<_>>().join("\n")
}
