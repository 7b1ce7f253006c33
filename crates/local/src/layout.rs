//! Where local mode keeps its things, and who may use them.
//!
//! # Invariants
//!
//! - One program at a time owns a state folder: it holds a lock that the kernel takes back when it dies.
//! - The kubeconfig and the token can be read by their owner alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// Looks at a lock that somebody holds who has not said who it is.
const OWNER_LOOKS: u32 = 200;
/// Time between them.
const OWNER_PERIOD: Duration = Duration::from_millis(10);

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
    /// Where the router explains its decisions, such as `http://127.0.0.1:15000`; absent until it does.
    #[serde(default)]
    pub debug: Option<String>,
    /// Whether everything that was asked for is up.
    #[serde(default)]
    pub ready: bool,
}

/// The right to use a state folder, until dropped.
#[derive(Debug)]
pub struct Lock {
    /// The kernel takes the lock back when it is closed, however that comes.
    _file: File,
    owner: PathBuf,
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

    /// The router's configuration, as its ConfigMap says.
    pub fn router_configuration(&self) -> PathBuf {
        self.root.join("routerConfiguration.yaml")
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

    /// What the owner says of itself; gone when it ends in order.
    fn owner_file(&self) -> PathBuf {
        self.root.join("running.json")
    }

    /// Makes the folder and takes it.
    ///
    /// # Errors
    ///
    /// If another program owns it, or it cannot be made or written.
    pub fn lock(&self) -> Result<Lock, LayoutError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .map_err(failed(&self.root))?;
        let path = self.lock_file();
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed(&path))?;
        let mut looks = 0;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            // Whoever only looks (`running`) holds the lock for a moment and has written nothing.
            let owner = self.read_owner()?;
            looks += 1;
            if owner.is_some() || looks == OWNER_LOOKS {
                let running = Box::new(owner.unwrap_or(Running::new(0)));
                return Err(LayoutError::Taken {
                    root: self.root.clone(),
                    running,
                });
            }
            std::thread::sleep(OWNER_PERIOD);
        }
        let mut lock = Lock {
            _file: file,
            owner: self.owner_file(),
        };
        lock.publish(&Running::new(std::process::id()))?;
        Ok(lock)
    }

    /// Who owns the folder now; `None` if nobody does.
    ///
    /// # Errors
    ///
    /// If the lock file or what the owner wrote cannot be read.
    pub fn running(&self) -> Result<Option<Running>, LayoutError> {
        let path = self.lock_file();
        let file = match File::options().write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LayoutError::Io { path, source }),
        };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(None);
        }
        Ok(Some(self.read_owner()?.unwrap_or(Running::new(0))))
    }

    /// What an owner wrote whose process still lives.
    fn read_owner(&self) -> Result<Option<Running>, LayoutError> {
        let path = self.owner_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LayoutError::Io { path, source }),
        };
        let running: Running = serde_json::from_str(&text).map_err(|error| LayoutError::Io {
            path,
            source: error.into(),
        })?;
        let lives = i32::try_from(running.pid)
            .ok()
            .and_then(Pid::from_raw)
            .is_some_and(|pid| test_kill_process(pid).is_ok());
        Ok(lives.then_some(running))
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
            debug: None,
            ready: false,
        }
    }
}

impl Lock {
    /// Tells others where the owner answers.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn publish(&mut self, running: &Running) -> Result<(), LayoutError> {
        let text =
            serde_json::to_string(running).map_err(|error| failed(&self.owner)(error.into()))?;
        Layout::write_private(&self.owner, &text)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What stays is told apart by its dead process.
        let _ = fs::remove_file(&self.owner);
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> LayoutError + use<> {
    let path = path.to_owned();
    move |source| LayoutError::Io { path, source }
}
