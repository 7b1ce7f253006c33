//! Volume mounts without a mount namespace: texts that name a path inside the container get the real path.
//!
//! A process of this machine sees the machine's file system, so a volume cannot appear at its `mountPath` (another
//! pod may want another volume there, and creating folders in the root of the user's machine is not ours to do).
//! Instead each volume is a folder of the pod, and every mount path that stands in the command, the arguments, the
//! working directory or an environment value as a whole path or as the beginning of one is replaced by that folder.
//! A program that has a mount path compiled in does not find it; mounting a `hostPath` at its own path always works.

use std::path::{Path, PathBuf};

/// A mount path and the folder or file that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path inside the container, without a slash at its end.
    pub inside: String,
    /// Absolute path on this machine.
    pub outside: PathBuf,
}

impl Mount {
    /// A mount; `None` if nothing has to be replaced.
    pub fn new(inside: &str, outside: &Path) -> Option<Self> {
        let inside = inside.trim_end_matches('/');
        let real = inside.starts_with('/') && Path::new(inside) != outside;
        real.then(|| Self {
            inside: inside.to_owned(),
            outside: outside.to_owned(),
        })
    }
}

/// Replaces mount paths in `text`; where one mount lies inside another the deeper one wins.
pub fn rewrite(text: &str, mounts: &[Mount]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    while let Some(at) = text[rest..].find('/').map(|at| rest + at) {
        out.push_str(&text[rest..at]);
        let found = starts_path(text, at)
            .then(|| longest(&text[at..], mounts))
            .flatten();
        rest = if let Some(mount) = found {
            out.push_str(&mount.outside.to_string_lossy());
            at + mount.inside.len()
        } else {
            out.push('/');
            at + 1
        };
    }
    out.push_str(&text[rest..]);
    out
}

fn longest<'m>(text: &str, mounts: &'m [Mount]) -> Option<&'m Mount> {
    let fits = |mount: &&Mount| {
        let tail = text.strip_prefix(mount.inside.as_str());
        tail.is_some_and(|tail| {
            tail.chars()
                .next()
                .is_none_or(|next| next == '/' || !is_name(next))
        })
    };
    mounts
        .iter()
        .filter(fits)
        .max_by_key(|mount| mount.inside.len())
}

/// A slash begins an absolute path if nothing that belongs to a path or a URL stands before it.
fn starts_path(text: &str, at: usize) -> bool {
    text[..at]
        .chars()
        .next_back()
        .is_none_or(|before| !is_name(before) && before != '/')
        && !text[..at].ends_with(":/")
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | '+' | '%' | '$' | '}')
}
