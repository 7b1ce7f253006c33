//! Names of Services and pods in texts: found, looked up by the caller, replaced by addresses.
//!
//! There is no cluster DNS for processes of this machine. A name counts as one of the cluster's if it ends in
//! `.svc` or `.svc.cluster.local`, if its last label is the pod's own namespace, or if it is the bare host of a
//! URL. Only the first kind and the value of `ENTRY_ADDRESS` are certain: everything else may be a file or a model
//! and stays as it is when nothing of that name exists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A name that may be one of the cluster's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName {
    /// As it stands in the text.
    pub text: String,
    /// Namespace it points to.
    pub namespace: String,
    /// Service, or headless pod.
    pub name: String,
    /// `hostname` of a pod behind the Service.
    pub host: Option<String>,
    /// It cannot be anything but a name, so the container waits until it has an address.
    pub certain: bool,
}

/// The names in `text`, for a pod of `namespace`; `entry` is the value of `ENTRY_ADDRESS`, if the pod has one.
pub fn find(text: &str, namespace: &str, entry: Option<&str>) -> BTreeSet<HostName> {
    tokens(text)
        .filter_map(|(at, token)| host_name(text, at, token, namespace, entry))
        .collect()
}

/// Replaces each name that has an address, wherever it stands on its own.
pub fn replace(text: &str, addresses: &BTreeMap<String, IpAddr>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, token) in tokens(text) {
        if let Some(address) = addresses
            .get(token)
            .filter(|_| token.contains('.') || is_url_host(text, at))
        {
            out.push_str(&text[copied..at]);
            out.push_str(&address.to_string());
            copied = at + token.len();
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// Runs of characters that host names are made of, with their positions.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(is_part)?;
        let end = text[start..]
            .find(|c| !is_part(c))
            .map_or(text.len(), |length| start + length);
        rest = end;
        Some((start, text[start..end].trim_end_matches('.')))
    })
}

fn is_url_host(text: &str, at: usize) -> bool {
    text[..at].ends_with("://")
}

fn host_name(
    text: &str,
    at: usize,
    token: &str,
    namespace: &str,
    entry: Option<&str>,
) -> Option<HostName> {
    let short = token
        .strip_suffix(".svc.cluster.local")
        .or_else(|| token.strip_suffix(".svc"));
    let certain = short.is_some() || entry == Some(token);
    let labels: Vec<&str> = short.unwrap_or(token).split('.').collect();
    if !labels.iter().all(|label| is_label(label)) {
        return None;
    }
    let (host, name, target) = match labels[..] {
        [name] if is_url_host(text, at) && short.is_none() => (None, name, namespace),
        [name, target] if certain || target == namespace => (None, name, target),
        [host, name, target] if certain || target == namespace => (Some(host), name, target),
        _ => return None,
    };
    Some(HostName {
        text: token.to_owned(),
        namespace: target.to_owned(),
        name: name.to_owned(),
        host: host.map(str::to_owned),
        certain,
    })
}

fn is_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty()
        && label.len() <= 63
        && label.chars().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.chars().all(|c| c.is_ascii_digit())
}
