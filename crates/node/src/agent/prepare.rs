//! Collects what a container needs before its process can start: volumes, variables, addresses, program.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use kthena_api::labels::ENV_ENTRY_ADDRESS;
use kube::Api;
use serde::de::DeserializeOwned;

use super::lookup::Answer;
use super::shared::{Shared, key, uid};
use super::volumes;
use crate::launch::command::{self, Choice, Offer, STAND_IN_ANNOTATION, Wanted};
use crate::launch::env::{self, Sources};
use crate::launch::expand::expand;
use crate::launch::mounts::{self, Mount};
use crate::launch::names;
use crate::machine::devices;
use crate::machine::request::of_container;
use crate::plan::wish::Part;
use crate::state::PodFolder;

/// A container of a pod and what the node has given that pod.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) pod: std::sync::Arc<Pod>,
    pub(crate) container: String,
    pub(crate) part: Part,
    pub(crate) address: Ipv4Addr,
    pub(crate) devices: BTreeSet<u32>,
}

impl Subject {
    /// The container as written.
    pub(crate) fn spec(&self) -> Option<&Container> {
        let spec = self.pod.spec.as_ref()?;
        let mut all = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers);
        all.find(|one| one.name == self.container)
    }
}

/// A container that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) choice: Choice,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    /// What the user should know about it, besides the choice.
    pub(crate) remarks: Vec<String>,
    mounts: Vec<Mount>,
}

impl Prepared {
    /// A command that names paths inside the container, with the paths of this machine.
    pub(crate) fn inside(&self, argv: &[String]) -> Vec<String> {
        argv.iter()
            .map(|word| mounts::rewrite(word, &self.mounts))
            .collect()
    }
}

/// Why a container cannot be started now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// Waiting reason.
    pub(crate) reason: &'static str,
    /// Event reason.
    pub(crate) event: &'static str,
    pub(crate) message: String,
}

impl Obstacle {
    fn waiting(message: String) -> Self {
        Self {
            reason: "ContainerCreating",
            event: "WaitingForAddress",
            message,
        }
    }

    fn config(message: String) -> Self {
        Self {
            reason: "CreateContainerConfigError",
            event: "Failed",
            message,
        }
    }

    fn mount(message: String) -> Self {
        Self {
            reason: "ContainerCreating",
            event: "FailedMount",
            message,
        }
    }

    fn server(error: &kube::Error) -> Self {
        let message = format!("the API server does not answer: {error}");
        Self {
            reason: "ContainerCreating",
            event: "Failed",
            message,
        }
    }
}

/// The objects a pod refers to, as far as they exist.
#[derive(Debug, Default)]
struct Referred {
    config_maps: BTreeMap<String, ConfigMap>,
    secrets: BTreeMap<String, Secret>,
}

impl Shared {
    /// Collects what `subject` needs; tells what is in the way otherwise.
    pub(crate) async fn prepare(&self, subject: &Subject) -> Result<Prepared, Obstacle> {
        let pod = &subject.pod;
        let container = subject
            .spec()
            .ok_or_else(|| Obstacle::config("the pod has no such container".to_owned()))?;
        let referred = self.referred(pod, Some(container)).await?;
        let (pod_ip, host_ip) = (subject.address.to_string(), self.config.host_ip.to_string());
        let sources = self.sources(pod, &pod_ip, &host_ip, &referred);
        let folder = PodFolder::new(&self.config.state_dir, uid(pod));
        let made = volumes::make(&folder, &self.config.state_dir.join("claims"), &sources)
            .map_err(|error| Obstacle::mount(error.to_string()))?;
        let own = env::resolve(container, &sources)
            .map_err(|error| Obstacle::config(error.to_string()))?;
        let mounts = volumes::mounts(container, &made, &own)
            .map_err(|error| Obstacle::mount(error.to_string()))?;
        let raw = Texts::of(container, own);
        let addresses = self.addresses(&raw, pod).await?;
        let texts = raw.map(|text| mounts::rewrite(&names::replace(text, &addresses), &mounts));
        let mut variables = self.config.base_env.clone();
        variables.insert("HOSTNAME".to_owned(), key(pod).name);
        variables.extend(self.visible_devices(subject));
        variables.extend(texts.env.clone());
        let choice = self.choose(subject, container, &texts, &variables)?;
        let mut remarks = Vec::new();
        let cwd = working_dir(&folder, container, texts.cwd.as_deref(), &mut remarks)?;
        Ok(Prepared {
            choice,
            env: variables,
            cwd,
            remarks,
            mounts,
        })
    }

    /// Brings the folders of volumes up to date with the objects behind them.
    pub(crate) async fn refresh_volumes(
        &self,
        pod: &Pod,
        address: Ipv4Addr,
    ) -> Result<(), Obstacle> {
        let referred = self.referred(pod, None).await?;
        let (pod_ip, host_ip) = (address.to_string(), self.config.host_ip.to_string());
        let sources = self.sources(pod, &pod_ip, &host_ip, &referred);
        let folder = PodFolder::new(&self.config.state_dir, uid(pod));
        volumes::make(&folder, &self.config.state_dir.join("claims"), &sources)
            .map(drop)
            .map_err(|error| Obstacle::mount(error.to_string()))
    }

    fn sources<'a>(
        &'a self,
        pod: &'a Pod,
        pod_ip: &'a str,
        host_ip: &'a str,
        referred: &'a Referred,
    ) -> Sources<'a> {
        Sources {
            pod,
            pod_ip,
            host_ip,
            node_name: &self.config.name,
            node: self.config.capacity,
            config_maps: &referred.config_maps,
            secrets: &referred.secrets,
        }
    }

    async fn referred(
        &self,
        pod: &Pod,
        container: Option<&Container>,
    ) -> Result<Referred, Obstacle> {
        let wanted = references(pod, container);
        let namespace = key(pod).namespace;
        Ok(Referred {
            config_maps: self.fetch(&namespace, wanted.config_maps).await?,
            secrets: self.fetch(&namespace, wanted.secrets).await?,
        })
    }

    async fn fetch<K>(
        &self,
        namespace: &str,
        names: BTreeSet<String>,
    ) -> Result<BTreeMap<String, K>, Obstacle>
    where
        K: kube::Resource<Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let mut found = BTreeMap::new();
        for name in names {
            if let Some(object) = api
                .get_opt(&name)
                .await
                .map_err(|error| Obstacle::server(&error))?
            {
                found.insert(name, object);
            }
        }
        Ok(found)
    }

    /// Addresses of all names of the cluster in the texts of a container.
    async fn addresses(
        &self,
        texts: &Texts,
        pod: &Pod,
    ) -> Result<BTreeMap<String, IpAddr>, Obstacle> {
        let namespace = key(pod).namespace;
        let entry = texts.env.get(ENV_ENTRY_ADDRESS).map(String::as_str);
        let found: BTreeSet<_> = texts
            .all()
            .flat_map(|text| names::find(text, &namespace, entry))
            .collect();
        let mut addresses = BTreeMap::new();
        for name in found {
            match self
                .look_up(&name)
                .await
                .map_err(|error| Obstacle::server(&error))?
            {
                Answer::Address(address) => {
                    addresses.insert(name.text, address);
                }
                Answer::Pending(why) => return Err(Obstacle::waiting(why)),
                Answer::Unknown => {}
            }
        }
        Ok(addresses)
    }

    /// A container sees the GPUs it was given and no other; on a machine without GPUs nothing is set.
    fn visible_devices(&self, subject: &Subject) -> Option<(String, String)> {
        if self.config.capacity.gpus == 0 {
            return None;
        }
        let containers = subject.pod.spec.iter().flat_map(|spec| &spec.containers);
        let asks = containers.map(|container| {
            (
                container.name.as_str(),
                u32::try_from(of_container(container).gpus).unwrap_or(0),
            )
        });
        let shares = devices::split(&subject.devices, asks);
        let all: Vec<u32> = subject.devices.iter().copied().collect();
        // Init containers run alone, so they may use all devices of the pod.
        let given = if subject.part == Part::Init {
            &all
        } else {
            shares.get(subject.container.as_str())?
        };
        let list: Vec<String> = given.iter().map(u32::to_string).collect();
        Some(("CUDA_VISIBLE_DEVICES".to_owned(), list.join(",")))
    }

    fn choose(
        &self,
        subject: &Subject,
        container: &Container,
        texts: &Texts,
        variables: &BTreeMap<String, String>,
    ) -> Result<Choice, Obstacle> {
        let annotations = subject.pod.metadata.annotations.as_ref();
        let listed = annotations
            .and_then(|all| all.get(STAND_IN_ANNOTATION))
            .map_or("", String::as_str);
        let wanted = Wanted {
            image: container.image.as_deref().unwrap_or_default(),
            command: &texts.command,
            args: &texts.args,
            part: subject.part,
            address: Some(IpAddr::V4(subject.address)).filter(|_| !self.config.isolate),
            stand_in: listed
                .split(',')
                .any(|name| name.trim() == subject.container),
        };
        let path = variables.get("PATH").map_or("", String::as_str);
        let offer = Offer {
            mode: self.config.engine,
            simulated: &self.config.engine_program,
            shim: &self.config.shim_program,
            on_path: &|program| is_on_path(program, path),
            variable: &|name| variables.get(name).map(String::as_str),
        };
        command::choose(&wanted, &offer).map_err(|refusal| Obstacle {
            reason: "ErrImagePull",
            event: "Failed",
            message: refusal.to_string(),
        })
    }
}

/// What the volumes of the pod and the variables of the container refer to.
fn references(pod: &Pod, container: Option<&Container>) -> volumes::References {
    let mut wanted = volumes::references(pod);
    for source in container
        .iter()
        .flat_map(|container| container.env_from.iter().flatten())
    {
        wanted.config_maps.extend(
            source
                .config_map_ref
                .as_ref()
                .map(|found| found.name.clone()),
        );
        wanted
            .secrets
            .extend(source.secret_ref.as_ref().map(|found| found.name.clone()));
    }
    for variable in container
        .iter()
        .flat_map(|container| container.env.iter().flatten())
    {
        let Some(from) = &variable.value_from else {
            continue;
        };
        wanted.config_maps.extend(
            from.config_map_key_ref
                .as_ref()
                .map(|found| found.name.clone()),
        );
        wanted
            .secrets
            .extend(from.secret_key_ref.as_ref().map(|found| found.name.clone()));
    }
    wanted
}

/// The texts of a container in which paths and names of the cluster may stand.
struct Texts {
    env: BTreeMap<String, String>,
    command: Vec<String>,
    args: Vec<String>,
    cwd: Option<String>,
}

impl Texts {
    fn of(container: &Container, env: BTreeMap<String, String>) -> Self {
        let value = |text: &String| expand(text, |name| env.get(name).map(String::as_str));
        Self {
            command: container.command.iter().flatten().map(value).collect(),
            args: container.args.iter().flatten().map(value).collect(),
            cwd: container.working_dir.clone().filter(|dir| !dir.is_empty()),
            env,
        }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.env.values().chain(&self.command).chain(&self.args)
    }

    fn map(self, change: impl Fn(&str) -> String) -> Self {
        Self {
            env: self
                .env
                .into_iter()
                .map(|(name, value)| (name, change(&value)))
                .collect(),
            command: self.command.iter().map(|text| change(text)).collect(),
            args: self.args.iter().map(|text| change(text)).collect(),
            cwd: self.cwd.as_deref().map(change),
        }
    }
}

/// The folder a container starts in. One that exists only in the image is replaced by an empty one of the pod.
fn working_dir(
    folder: &PodFolder,
    container: &Container,
    wanted: Option<&str>,
    remarks: &mut Vec<String>,
) -> Result<PathBuf, Obstacle> {
    if let Some(wanted) = wanted {
        if Path::new(wanted).is_dir() {
            return Ok(PathBuf::from(wanted));
        }
        remarks.push(format!(
            "workingDir {wanted:?} does not exist on this machine: an empty folder is used"
        ));
    }
    let own = folder.work(&container.name);
    std::fs::create_dir_all(&own)
        .map_err(|error| Obstacle::mount(format!("{}: {error}", own.display())))?;
    Ok(own)
}

fn is_on_path(program: &str, path: &str) -> bool {
    let runnable = |file: &Path| {
        std::fs::metadata(file)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return runnable(Path::new(program));
    }
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .any(|folder| runnable(&Path::new(folder).join(program)))
}
