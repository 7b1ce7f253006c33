//! Networks of their own for pods: a network namespace each, joined by one bridge. Needs root and the `ip` program.
//!
//! With it every pod may listen on all addresses. The bridge reaches the machine but not the world: nothing is
//! translated or forwarded, so a pod that downloads a model needs the plain mode.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::sync::Mutex;

use super::prepare::Subject;
use super::shared::{Shared, uid};
use crate::error::NodeError;
use crate::machine::address::AddressRange;

/// Name of the bridge.
const BRIDGE: &str = "kthena0";
/// Where `ip netns` keeps its handles.
const HANDLES: &str = "/run/netns";

/// Two containers of one pod start at once, and `ip` minds.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Makes the bridge, with the first address of the range for the machine.
pub(crate) async fn bridge(range: AddressRange) -> Result<(), NodeError> {
    let isolation = |reason| NodeError::Isolation { reason };
    if !rustix::process::geteuid().is_root() {
        return Err(isolation("it needs root".to_owned()));
    }
    if !Path::new("/sys/class/net").join(BRIDGE).exists() {
        ip(&["link", "add", BRIDGE, "type", "bridge"])
            .await
            .map_err(isolation)?;
    }
    let gateway = format!("{}/{}", range.first(), range.prefix());
    ip(&["addr", "replace", &gateway, "dev", BRIDGE])
        .await
        .map_err(isolation)?;
    ip(&["link", "set", BRIDGE, "up"]).await.map_err(isolation)
}

/// The namespace of a pod, made if it is not there yet; `None` if pods share the machine's network.
pub(super) async fn ensure(shared: &Shared, subject: &Subject) -> Result<Option<PathBuf>, String> {
    if !shared.config.isolate {
        return Ok(None);
    }
    let name = name(&shared.config.state_dir, uid(&subject.pod));
    let handle = Path::new(HANDLES).join(&name);
    let _turn = ONE_AT_A_TIME.lock().await;
    if !handle.exists()
        && let Err(reason) = make(&name, subject.address, shared.config.addresses).await
    {
        drop(ip(&["netns", "del", &name]).await);
        return Err(reason);
    }
    Ok(Some(handle))
}

async fn make(name: &str, address: Ipv4Addr, range: AddressRange) -> Result<(), String> {
    // An interface name has at most 15 bytes.
    let outside = format!("kv{}", name.rsplit('-').next().unwrap_or_default());
    let address = format!("{address}/{}", range.prefix());
    // Another node of this machine may have taken the bridge away when its last pod left.
    bridge(range).await.map_err(|error| error.to_string())?;
    ip(&["netns", "add", name]).await?;
    ip(&[
        "link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", name,
    ])
    .await?;
    ip(&["link", "set", &outside, "master", BRIDGE, "up"]).await?;
    ip(&["-n", name, "addr", "add", &address, "dev", "eth0"]).await?;
    ip(&["-n", name, "link", "set", "eth0", "up"]).await?;
    ip(&["-n", name, "link", "set", "lo", "up"]).await?;
    ip(&[
        "-n",
        name,
        "route",
        "add",
        "default",
        "via",
        &range.first().to_string(),
    ])
    .await
}

/// Removes the namespace of a pod, if it has one.
pub(super) async fn remove(shared: &Shared, uid: &str) {
    let name = name(&shared.config.state_dir, uid);
    if Path::new(HANDLES).join(&name).exists()
        && let Err(reason) = ip(&["netns", "del", &name]).await
    {
        tracing::warn!(reason, name, "cannot remove a network namespace");
    }
}

/// Removes all namespaces of a state folder; for the time when no agent runs on it.
pub(crate) fn remove_all(state_dir: &Path) {
    let prefix = format!("{}-", prefix(state_dir));
    let Ok(entries) = std::fs::read_dir(HANDLES) else {
        return;
    };
    let mut found = false;
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        if let Some(name) = file_name.to_str().filter(|name| name.starts_with(&prefix)) {
            found = true;
            let removed = std::process::Command::new("ip")
                .args(["netns", "del", name])
                .status();
            if !removed.is_ok_and(|status| status.success()) {
                tracing::warn!(name, "cannot remove a network namespace");
            }
        }
    }
    if !found {
        return;
    }
    // Nodes of this machine share the bridge; the last one that used it takes it away.
    let ports = std::fs::read_dir(Path::new("/sys/class/net").join(BRIDGE).join("brif"));
    if ports.is_ok_and(|mut ports| ports.next().is_none()) {
        let removed = std::process::Command::new("ip")
            .args(["link", "del", BRIDGE])
            .status();
        tracing::debug!(?removed, "removed the bridge");
    }
}

fn name(state_dir: &Path, uid: &str) -> String {
    format!("{}-{:010x}", prefix(state_dir), hash(uid) & 0xff_ffff_ffff)
}

fn prefix(state_dir: &Path) -> String {
    format!(
        "kthena-{:08x}",
        hash(&state_dir.to_string_lossy()) & 0xffff_ffff
    )
}

fn hash(text: &str) -> u64 {
    // FNV-1a: the same in every build, because names must be found again.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

async fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .await
        .map_err(|error| format!("cannot run ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", args.join(" "), words.trim()))
}
