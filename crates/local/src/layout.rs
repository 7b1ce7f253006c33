//! Where local mode keeps its things, and who may use them.
//!
//! # Invariants
//!
//! - One program at a time owns a state folder: it holds a lock that the kernel takes back when it dies.
//! - The kubeconfig and the token can be read by their owner alone.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// A state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

/// What the owner of a state folder says of itself while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Process id of the owner.
    pub pid: u32,
    /// Where the router answers, such as `http://127.0.0.1:8080`; absent until it does.
    pub router: Option<String>,
    /// Where the API server answers; absent until it does.
    pub api: Option<String>,
    /// Whether everything that was asked for is up.
    #[serde(default)]
    pub ready: bool,
}

/// The right to use a state folder, until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Another program owns it.
    #[error(
        "kthena already runs on {} (process {}{}); stop it with `kthena local down`, or give this one its own --state-dir",
        .root.display(), .running.pid, at(.running)
    )]
    Taken {
        /// The folder.
        root: PathBuf,
        /// Who owns it.
        running: Box<Running>,
    },
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn at(running: &Running) -> String {
    running
        .router
        .as_deref()
        .map(|router| format!(", serving on {router}"))
        .unwrap_or_default()
}

impl Layout {
    /// The state folder at `root`, whether or not it exists.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The kubeconfig that kubectl may use.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// Database of the API server.
    pub fn api_state(&self) -> PathBuf {
        self.root.join("api")
    }

    /// Pods, their logs and volumes.
    pub fn node_state(&self) -> PathBuf {
        self.root.join("node")
    }

    /// Log of a program that runs in the background.
    pub fn log(&self) -> PathBuf {
        self.root.join("kthena.log")
    }

    /// The token of the kubeconfig: made once, kept for as long as the folder.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written.
    pub fn token(&self) -> Result<String, LayoutError> {
        let path = self.root.join("token");
        match fs::read_to_string(&path) {
            Ok(token) if !token.is_empty() => Ok(token),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(LayoutError::Io { path, source })
            }
            _ => {
                let token = uuid::Uuid::new_v4().simple().to_string();
                Self::write_private(&path, &token)?;
                Ok(token)
            }
        }
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Makes the folder and takes it.
    ///
    /// # Errors
    ///
    /// If another program owns it, or it cannot be made or written.
    pub fn lock(&self) -> Result<Lock, LayoutError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LayoutError::Io { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .map_err(failed(&self.root))?;
        let path = self.lock_file();
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed(&path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let running = read_running(&mut file).unwrap_or(Running::new(0));
            return Err(LayoutError::Taken {
                root: self.root.clone(),
                running: Box::new(running),
            });
        }
        let mut lock = Lock { file };
        lock.publish(&Running::new(std::process::id()))
            .map_err(failed(&path))?;
        Ok(lock)
    }

    /// Who owns the folder now; `None` if nobody does.
    ///
    /// # Errors
    ///
    /// If the lock file cannot be read.
    pub fn running(&self) -> Result<Option<Running>, LayoutError> {
        let path = self.lock_file();
        let failed = |source| LayoutError::Io {
            path: path.clone(),
            source,
        };
        let mut file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(None);
        }
        read_running(&mut file).map(Some).map_err(failed)
    }

    /// Writes a file that only its owner may read.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_private(path: &Path, content: &str) -> Result<(), LayoutError> {
        let failed = |source| LayoutError::Io {
            path: path.to_owned(),
            source,
        };
        let draft = path.with_extension("new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(failed)?;
        file.write_all(content.as_bytes()).map_err(failed)?;
        fs::rename(&draft, path).map_err(failed)
    }
}

impl Running {
    /// A program that answers nowhere yet.
    pub fn new(pid: u32) -> Self {
        Self {
            pid,
            router: None,
            api: None,
            ready: false,
        }
    }
}

impl Lock {
    /// Tells others where the owner answers.
    ///
    /// # Errors
    ///
    /// If the lock file cannot be written.
    pub fn publish(&mut self, running: &Running) -> io::Result<()> {
        let text = serde_json::to_vec(running)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)
    }
}

fn read_running(file: &mut File) -> io::Result<Running> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
