//! Tells users about ports that two pods cannot both have.
//!
//! Every pod has an address of its own, but a server that listens on all addresses takes its port on all of them.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use k8s_openapi::api::core::v1::Container;

/// How much of the end of a log is searched.
const TAIL: u64 = 4096;
/// The words of an error that Linux, Python, Node and Go programs print.
const SIGNS: [&str; 3] = ["address already in use", "eaddrinuse", "errno 98"];

/// Advice for a container whose last words are about a busy port.
pub(super) fn advice(log: &Path, container: &str) -> Option<String> {
    let tail = tail(log)?.to_ascii_lowercase();
    SIGNS.iter().any(|sign| tail.contains(sign)).then(|| {
        format!(
            "container {container} found its port taken: a server of another pod listens on all addresses. Let it \
             listen on the pod's own address ($(POD_IP) from status.podIP, --host for most servers), give it another \
             port, or run the node as root with isolated networks (--isolate)"
        )
    })
}

fn tail(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ports of `container` that some process already holds on all addresses.
pub(super) fn held(container: &Container) -> Vec<u16> {
    let declared = container
        .ports
        .iter()
        .flatten()
        .filter_map(|port| u16::try_from(port.container_port).ok());
    let declared: Vec<u16> = declared.collect();
    if declared.is_empty() {
        return declared;
    }
    let taken: Vec<u16> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|table| {
            table
                .lines()
                .filter_map(listens_everywhere)
                .collect::<Vec<_>>()
        })
        .collect();
    declared
        .into_iter()
        .filter(|port| taken.contains(port))
        .collect()
}

/// The port of a socket that listens on all addresses, from a line of the kernel's table.
fn listens_everywhere(line: &str) -> Option<u16> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let everywhere = address.bytes().all(|byte| byte == b'0') && fields.get(3) == Some(&"0A");
    everywhere
        .then(|| u16::from_str_radix(port, 16).ok())
        .flatten()
}
