//! A state folder of its own, and programs that run on it.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kthena_testkit::{binary, control_plane};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longest that anything may take here; the machine is shared with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A machine that Kthena runs on. What is left at the end is stopped.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
}

/// What a program wrote until it ended.
pub(crate) struct Ended {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A file of this machine.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `kthena local …` on this machine.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(binary::kthena().unwrap());
        command
            .arg("local")
            .args(arguments)
            .env("KTHENA_STATE_DIR", self.state_dir())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs `kthena local …` to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ended {
        ended(&self.command(arguments).output().unwrap())
    }

    /// Brings up the manifests at `path` in the background and answers where the router is.
    pub(crate) fn up(&self, path: &Path) -> String {
        let arguments = [
            OsStr::new("up"),
            "-d".as_ref(),
            "--port=0".as_ref(),
            "-f".as_ref(),
            path.as_ref(),
        ];
        let ended = self.run(&arguments);
        assert!(
            ended.success,
            "{}\n{}\n{}",
            path.display(),
            ended.stdout,
            ended.stderr
        );
        self.router()
    }

    /// Where the router is, by the program's own account.
    pub(crate) fn router(&self) -> String {
        self.running()["router"].as_str().unwrap().to_owned()
    }

    /// What the owner of the state folder says of itself.
    pub(crate) fn running(&self) -> Value {
        let text = std::fs::read_to_string(self.state_dir().join("running.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Process id of the owner of the state folder.
    pub(crate) fn pid(&self) -> Pid {
        let pid = self.running()["pid"].as_i64().unwrap();
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    /// `kubectl …` against this machine.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Ended {
        let kubeconfig = self.run(&["kubeconfig"]).stdout;
        let mut command = control_plane::kubectl().unwrap();
        command
            .arg("--kubeconfig")
            .arg(kubeconfig.trim())
            .args(arguments);
        ended(&command.output().unwrap())
    }

    /// Processes that were started for pods of this machine and live.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mark = self.state_dir().display().to_string();
        let mut pids = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let ours = [environment, arguments]
                .iter()
                .any(|text| String::from_utf8_lossy(text).contains(&mark));
            if ours && pid != i32::try_from(std::process::id()).unwrap() {
                pids.push(pid);
            }
        }
        pids
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).output();
        let _ = self.command(&["reset"]).output();
    }
}

pub(crate) fn ended(output: &Output) -> Ended {
    Ended {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends `signal` to `child` and waits until it has ended.
pub(crate) fn end(mut child: Child, signal: Signal) -> Ended {
    kill_process(Pid::from_child(&child), signal).unwrap();
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout).unwrap();
    }
    let status = child.wait().unwrap();
    Ended {
        success: status.success(),
        stdout,
        stderr: String::new(),
    }
}

/// Looks until `condition` gives a value, and fails with `what` when it takes too long.
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {} s",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A folder of the repository's examples.
pub(crate) fn example(name: &str) -> PathBuf {
    binary::repository().join("examples").join(name)
}

/// One chat that is not streamed; the status, 0 if there is no answer, and the body.
pub(crate) fn chat(router: &str, model: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let body = serde_json::json!({
        "model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]});
    let mut request = reqwest::Client::new()
        .post(format!("{router}/v1/chat/completions"))
        .timeout(PATIENCE)
        .json(&body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let Ok(response) = request.send().await else {
            return (0, Value::Null);
        };
        (
            response.status().as_u16(),
            response.json().await.unwrap_or_default(),
        )
    })
}
