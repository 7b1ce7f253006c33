//! The volumes of a pod as folders of this machine.
//!
//! `emptyDir` is a folder that goes with the pod; `hostPath` is the path itself; `configMap`, `secret`,
//! `downwardAPI` and `projected` are folders that are written anew when their source changes; a
//! `persistentVolumeClaim` is a folder of the node that outlives the pod. A service account token is not given.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, Pod, Secret,
    Volume, VolumeProjection,
};

use crate::launch::env::Sources;
use crate::launch::expand::expand;
use crate::launch::mounts::Mount;
use crate::state::PodFolder;

/// Why a volume cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("volume {volume:?}: {kind} {name:?} not found")]
    NoSource {
        volume: String,
        kind: &'static str,
        name: String,
    },
    #[error("volume {volume:?}: {kind} {name:?} has no key {key:?}")]
    NoKey {
        volume: String,
        kind: &'static str,
        name: String,
        key: String,
    },
    #[error("volume {volume:?}: host path {path:?} is not a {wanted}")]
    HostPath {
        volume: String,
        path: String,
        wanted: String,
    },
    #[error(
        "volume {volume:?} is of a kind that processes cannot have: use emptyDir, hostPath or a claim"
    )]
    Unsupported { volume: String },
    #[error("volume {volume:?}: the path {path:?} leads out of it")]
    Outside { volume: String, path: String },
    #[error("volume {volume:?} cannot be written: {source}")]
    Write { volume: String, source: io::Error },
}

/// Names of the `ConfigMap`s and Secrets that the volumes of a pod are made from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    pub(crate) config_maps: BTreeSet<String>,
    pub(crate) secrets: BTreeSet<String>,
}

/// The files of a volume: path below its folder, content, mode.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// Mode of files whose volume names none.
const MODE: i32 = 0o644;

/// What the volumes of `pod` refer to.
pub(crate) fn references(pod: &Pod) -> References {
    let mut found = References::default();
    let volumes = pod
        .spec
        .iter()
        .filter_map(|spec| spec.volumes.as_ref())
        .flatten();
    for volume in volumes {
        found
            .config_maps
            .extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        found.secrets.extend(
            volume
                .secret
                .as_ref()
                .and_then(|source| source.secret_name.clone()),
        );
        let projected = volume
            .projected
            .iter()
            .filter_map(|source| source.sources.as_ref())
            .flatten();
        for source in projected {
            found
                .config_maps
                .extend(source.config_map.as_ref().map(|source| source.name.clone()));
            found
                .secrets
                .extend(source.secret.as_ref().map(|source| source.name.clone()));
        }
    }
    found
}

/// Makes all volumes of the pod, or brings them up to date. Returns where each one is.
pub(crate) fn make(
    folder: &PodFolder,
    claims: &Path,
    sources: &Sources<'_>,
) -> Result<BTreeMap<String, PathBuf>, VolumeError> {
    let volumes = sources
        .pod
        .spec
        .iter()
        .filter_map(|spec| spec.volumes.as_ref())
        .flatten();
    volumes
        .map(|volume| Ok((volume.name.clone(), one(folder, claims, volume, sources)?)))
        .collect()
}

/// What stands for the mount paths of a container.
pub(crate) fn mounts(
    container: &Container,
    volumes: &BTreeMap<String, PathBuf>,
    env: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, VolumeError> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = volumes.get(&mount.name) else {
            continue;
        };
        let below = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => expand(path, |name| env.get(name).map(String::as_str)),
            (None, None) => String::new(),
        };
        let outside = if below.is_empty() {
            volume.clone()
        } else {
            inside(&mount.name, volume, &below)?
        };
        if !outside.exists() {
            write(&mount.name, std::fs::create_dir_all(&outside))?;
        }
        mounts.extend(Mount::new(&mount.mount_path, &outside));
    }
    Ok(mounts)
}

fn one(
    folder: &PodFolder,
    claims: &Path,
    volume: &Volume,
    sources: &Sources<'_>,
) -> Result<PathBuf, VolumeError> {
    let name = volume.name.as_str();
    let path = folder.volume(name);
    let mut files = Files::new();
    if let Some(host) = &volume.host_path {
        return host_path(name, host);
    } else if let Some(claim) = &volume.persistent_volume_claim {
        let namespace = sources.pod.metadata.namespace.clone().unwrap_or_default();
        let path = claims.join(namespace).join(&claim.claim_name);
        write(name, std::fs::create_dir_all(&path))?;
        return Ok(path);
    } else if volume.empty_dir.is_some() {
        write(name, std::fs::create_dir_all(&path))?;
        return Ok(path);
    } else if let Some(source) = &volume.config_map {
        let pick = Pick {
            volume: name,
            items: source.items.as_ref(),
            mode: source.default_mode,
            optional: source.optional,
        };
        pick.config_map(
            &source.name,
            sources.config_maps.get(&source.name),
            &mut files,
        )?;
    } else if let Some(source) = &volume.secret {
        let secret = source.secret_name.as_deref().unwrap_or_default();
        let pick = Pick {
            volume: name,
            items: source.items.as_ref(),
            mode: source.default_mode,
            optional: source.optional,
        };
        pick.secret(secret, sources.secrets.get(secret), &mut files)?;
    } else if let Some(source) = &volume.downward_api {
        downward(
            name,
            source.items.iter().flatten(),
            source.default_mode,
            sources,
            &mut files,
        )?;
    } else if let Some(source) = &volume.projected {
        for part in source.sources.iter().flatten() {
            project(name, part, source.default_mode, sources, &mut files)?;
        }
    } else {
        return Err(VolumeError::Unsupported {
            volume: name.to_owned(),
        });
    }
    fill(name, &path, &files)?;
    Ok(path)
}

fn host_path(volume: &str, host: &HostPathVolumeSource) -> Result<PathBuf, VolumeError> {
    let path = PathBuf::from(&host.path);
    let wanted = host.type_.as_deref().unwrap_or_default();
    let kind = std::fs::metadata(&path).map(|meta| meta.file_type()).ok();
    let fits = match wanted {
        "DirectoryOrCreate" => {
            write(volume, std::fs::create_dir_all(&path))?;
            true
        }
        "FileOrCreate" => {
            write(
                volume,
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&path)
                    .map(drop),
            )?;
            true
        }
        "Directory" => kind.is_some_and(|kind| kind.is_dir()),
        "File" => kind.is_some_and(|kind| kind.is_file()),
        "Socket" => kind.is_some_and(|kind| kind.is_socket()),
        "CharDevice" => kind.is_some_and(|kind| kind.is_char_device()),
        "BlockDevice" => kind.is_some_and(|kind| kind.is_block_device()),
        _ => true,
    };
    if fits {
        return Ok(path);
    }
    Err(VolumeError::HostPath {
        volume: volume.to_owned(),
        path: host.path.clone(),
        wanted: wanted.to_owned(),
    })
}

fn project(
    volume: &str,
    part: &VolumeProjection,
    mode: Option<i32>,
    sources: &Sources<'_>,
    files: &mut Files,
) -> Result<(), VolumeError> {
    if let Some(source) = &part.config_map {
        let pick = Pick {
            volume,
            items: source.items.as_ref(),
            mode,
            optional: source.optional,
        };
        // The root certificate that every service account volume carries is of no use without its token.
        let optional = source.name == "kube-root-ca.crt";
        let pick = Pick {
            optional: Some(optional || pick.optional == Some(true)),
            ..pick
        };
        pick.config_map(&source.name, sources.config_maps.get(&source.name), files)?;
    }
    if let Some(source) = &part.secret {
        let pick = Pick {
            volume,
            items: source.items.as_ref(),
            mode,
            optional: source.optional,
        };
        pick.secret(&source.name, sources.secrets.get(&source.name), files)?;
    }
    if let Some(source) = &part.downward_api {
        downward(volume, source.items.iter().flatten(), mode, sources, files)?;
    }
    Ok(())
}

fn downward<'a>(
    volume: &str,
    items: impl Iterator<Item = &'a DownwardAPIVolumeFile>,
    mode: Option<i32>,
    sources: &Sources<'_>,
    files: &mut Files,
) -> Result<(), VolumeError> {
    for item in items {
        let field = item
            .field_ref
            .as_ref()
            .and_then(|field| sources.field(&field.field_path));
        let resource = || {
            let wanted = item.resource_field_ref.as_ref()?;
            let containers = &sources.pod.spec.as_ref()?.containers;
            let container = containers
                .iter()
                .find(|one| Some(&one.name) == wanted.container_name.as_ref())?;
            sources.resource(container, wanted)
        };
        let value = field.or_else(resource).ok_or_else(|| VolumeError::NoKey {
            volume: volume.to_owned(),
            kind: "pod",
            name: sources.pod.metadata.name.clone().unwrap_or_default(),
            key: item.path.clone(),
        })?;
        files.insert(
            item.path.clone(),
            (value.into_bytes(), mode_of(item.mode.or(mode))),
        );
    }
    Ok(())
}

/// Which keys of a ConfigMap or Secret become which files.
struct Pick<'a> {
    volume: &'a str,
    items: Option<&'a Vec<KeyToPath>>,
    mode: Option<i32>,
    optional: Option<bool>,
}

impl Pick<'_> {
    fn config_map(
        &self,
        name: &str,
        map: Option<&ConfigMap>,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        let data = map.map(|map| {
            let text = map
                .data
                .iter()
                .flatten()
                .map(|(key, value)| (key.as_str(), value.as_bytes()));
            let binary = map
                .binary_data
                .iter()
                .flatten()
                .map(|(key, value)| (key.as_str(), value.0.as_slice()));
            text.chain(binary).collect()
        });
        self.add("configmap", name, data, files)
    }

    fn secret(
        &self,
        name: &str,
        secret: Option<&Secret>,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        let data = secret.map(|secret| {
            secret
                .data
                .iter()
                .flatten()
                .map(|(key, value)| (key.as_str(), value.0.as_slice()))
                .collect()
        });
        self.add("secret", name, data, files)
    }

    fn add(
        &self,
        kind: &'static str,
        name: &str,
        data: Option<BTreeMap<&str, &[u8]>>,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        let optional = self.optional == Some(true);
        let Some(data) = data else {
            let missing = VolumeError::NoSource {
                volume: self.volume.to_owned(),
                kind,
                name: name.to_owned(),
            };
            return if optional { Ok(()) } else { Err(missing) };
        };
        let Some(items) = self.items.filter(|items| !items.is_empty()) else {
            let mode = mode_of(self.mode);
            files.extend(
                data.into_iter()
                    .map(|(key, value)| (key.to_owned(), (value.to_vec(), mode))),
            );
            return Ok(());
        };
        for item in items {
            match data.get(item.key.as_str()) {
                Some(value) => {
                    files.insert(
                        item.path.clone(),
                        (value.to_vec(), mode_of(item.mode.or(self.mode))),
                    );
                }
                None if optional => {}
                None => {
                    return Err(VolumeError::NoKey {
                        volume: self.volume.to_owned(),
                        kind,
                        name: name.to_owned(),
                        key: item.key.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Makes the folder hold exactly `files`; a file is replaced in one step and only if it differs.
fn fill(volume: &str, folder: &Path, files: &Files) -> Result<(), VolumeError> {
    write(volume, std::fs::create_dir_all(folder))?;
    for (name, (content, mode)) in files {
        let path = inside(volume, folder, name)?;
        if std::fs::read(&path).is_ok_and(|old| old == *content) {
            continue;
        }
        let replace = || {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            // Two containers of the pod may start at once: each writes a file of its own first.
            let fresh = path.with_file_name(format!("..new-{:?}", std::thread::current().id()));
            std::fs::write(&fresh, content)?;
            std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(*mode))?;
            std::fs::rename(&fresh, &path)
        };
        write(volume, replace())?;
    }
    let tops: BTreeSet<&str> = files
        .keys()
        .filter_map(|name| name.split('/').next())
        .collect();
    let entries = write(volume, std::fs::read_dir(folder))?;
    for entry in entries.flatten() {
        if !entry
            .file_name()
            .to_str()
            .is_some_and(|name| tops.contains(name))
            && entry.path().is_file()
        {
            write(volume, std::fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

/// A path below `folder`; one that leads out of it is refused.
fn inside(volume: &str, folder: &Path, below: &str) -> Result<PathBuf, VolumeError> {
    let relative = Path::new(below);
    let plain = relative
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if plain {
        Ok(folder.join(relative))
    } else {
        Err(VolumeError::Outside {
            volume: volume.to_owned(),
            path: below.to_owned(),
        })
    }
}

fn mode_of(mode: Option<i32>) -> u32 {
    mode.unwrap_or(MODE).unsigned_abs() & 0o777
}

fn write<T>(volume: &str, result: io::Result<T>) -> Result<T, VolumeError> {
    result.map_err(|source| VolumeError::Write {
        volume: volume.to_owned(),
        source,
    })
}
