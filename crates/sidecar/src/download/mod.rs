//! Brings files into a folder of this pod: from a folder on a mounted volume, or over HTTP.
//!
//! Files appear under their names only when they are whole. Nothing is deleted.

mod copy;

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::SidecarError;

/// For connecting; a file may then take as long as it takes.
const CONNECT: Duration = Duration::from_secs(30);

/// Why nothing, or not everything, was brought.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    #[error("{} is not in a folder that downloads may go to", .0.display())]
    Forbidden(PathBuf),
    #[error("no path in {0:?}")]
    NoPath(String),
    #[error("sources like {0:?} are not supported yet: use a path, pvc:// or http://")]
    Unsupported(String),
    #[error("{} is not a folder: only what is mounted into this pod can be copied", .0.display())]
    NoFolder(PathBuf),
    #[error("{path}: {source}", path = .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the server failed: {0}")]
    Http(#[source] reqwest::Error),
    #[error("the server answered HTTP {0}")]
    Status(u16),
    #[error("the copy was stopped")]
    Stopped,
}

impl DownloadError {
    /// Whether asking again the same way cannot help.
    pub(crate) fn is_callers(&self) -> bool {
        matches!(
            self,
            Self::Forbidden(_) | Self::NoPath(_) | Self::Unsupported(_)
        )
    }
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Folder(PathBuf),
    File { url: String, name: String },
}

/// Brings files, one download per folder at a time.
#[derive(Debug)]
pub(crate) struct Downloader {
    client: reqwest::Client,
    roots: Vec<PathBuf>,
    busy: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl Downloader {
    pub(crate) fn new(roots: Vec<PathBuf>) -> Result<Self, SidecarError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .build()?;
        Ok(Self {
            client,
            roots,
            busy: Mutex::default(),
        })
    }

    /// Brings what `source` names into `folder`.
    pub(crate) async fn fetch(&self, source: &str, folder: &Path) -> Result<(), DownloadError> {
        let source = read_source(source)?;
        self.check(folder)?;
        let busy = {
            let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            // Only this map holds those that are done.
            busy.retain(|_, lock| Arc::strong_count(lock) > 1);
            busy.entry(folder.to_path_buf()).or_default().clone()
        };
        let _turn = busy.lock().await;
        match source {
            Source::Folder(from) => copy::folder(from, folder.to_path_buf()).await,
            Source::File { url, name } => copy::file(&self.client, &url, &folder.join(name)).await,
        }
    }

    /// Downloads must not be a way to write anywhere in the pod.
    fn check(&self, folder: &Path) -> Result<(), DownloadError> {
        let plain = folder.is_absolute()
            && folder
                .components()
                .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let inside =
            self.roots.is_empty() || self.roots.iter().any(|root| folder.starts_with(root));
        if plain && inside {
            Ok(())
        } else {
            Err(DownloadError::Forbidden(folder.to_path_buf()))
        }
    }
}

fn read_source(text: &str) -> Result<Source, DownloadError> {
    if let Some(path) = text.strip_prefix("pvc://") {
        let path = path.trim_start_matches('/');
        if path.is_empty() {
            return Err(DownloadError::NoPath(text.to_owned()));
        }
        return Ok(Source::Folder(Path::new("/").join(path)));
    }
    if let Some(path) = text.strip_prefix("file://") {
        return Ok(Source::Folder(path.into()));
    }
    if text.starts_with('/') {
        return Ok(Source::Folder(text.into()));
    }
    if let Some(rest) = text.strip_prefix("http://") {
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let name = path.split_once('/').map_or("", |(_, path)| path);
        let name = name.rsplit('/').next().unwrap_or_default();
        if name.is_empty() || name == "." || name == ".." {
            return Err(DownloadError::NoPath(text.to_owned()));
        }
        return Ok(Source::File {
            url: text.to_owned(),
            name: name.to_owned(),
        });
    }
    Err(DownloadError::Unsupported(text.to_owned()))
}

#[cfg(test)]
mod tests;
