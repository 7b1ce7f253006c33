//! Writes what the programs read: the token file, the kubeconfig, the scheduler's configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Paths and secrets of one control plane.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) tokens: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) scheduler: PathBuf,
    pub(super) url: String,
    pub(super) token: String,
}

/// Writes all files of a control plane whose API server will listen on `port`.
pub(super) fn write(folder: &Path, port: u16) -> io::Result<Files> {
    let token = token()?;
    let url = format!("https://127.0.0.1:{port}");
    let files = Files {
        tokens: folder.join("tokens.csv"),
        kubeconfig: folder.join("kubeconfig"),
        scheduler: folder.join("scheduler.yaml"),
        url,
        token,
    };
    fs::create_dir(folder.join("certificates"))?;
    fs::write(
        &files.tokens,
        format!("{},admin,admin,\"system:masters\"\n", files.token),
    )?;
    fs::write(
        &files.kubeconfig,
        kubeconfig(folder, &files.url, &files.token),
    )?;
    fs::write(&files.scheduler, scheduler(&files.kubeconfig))?;
    Ok(files)
}

/// A token nobody else on this machine can guess.
fn token() -> io::Result<String> {
    let mut random = [0_u8; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

fn kubeconfig(folder: &Path, url: &str, token: &str) -> String {
    // The server writes its certificate and the authority that signed it into one file.
    let authority = folder.join("certificates").join("apiserver.crt");
    format!(
        "apiVersion: v1
kind: Config
current-context: test
contexts:
- {{name: test, context: {{cluster: test, user: admin}}}}
clusters:
- {{name: test, cluster: {{server: '{url}', certificate-authority: '{}'}}}}
users:
- {{name: admin, user: {{token: '{token}'}}}}
",
        authority.display()
    )
}

/// Two profiles, because `volcano` is the default schedulerName of a ModelServing.
fn scheduler(kubeconfig: &Path) -> String {
    format!(
        "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {{kubeconfig: '{}', qps: 1000, burst: 2000}}
leaderElection: {{leaderElect: false}}
profiles:
- schedulerName: default-scheduler
- schedulerName: volcano
",
        kubeconfig.display()
    )
}
