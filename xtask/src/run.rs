//! Checks that are another program's work.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{layers, sizes};

type Check = fn() -> Result<()>;

/// Every check, cheap ones first; the first failure ends the run.
pub(crate) fn ci() -> Result<()> {
    let checks: [(&str, Check); 7] = [
        ("fmt", fmt),
        ("layers", layers::check),
        ("sizes", sizes::check),
        ("clippy", clippy),
        ("generated", generated),
        ("deny", deny),
        ("test", test),
    ];
    for (name, check) in checks {
        say(&format!("== {name}\n"));
        check().with_context(|| format!("cargo xtask {name}"))?;
    }
    Ok(())
}

/// rustfmt has nothing to change.
pub(crate) fn fmt() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])
}

/// No lint fires.
pub(crate) fn clippy() -> Result<()> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ])
}

/// Licences, bans, sources and duplicates; advisories need their database and are left to `cargo deny check advisories`.
pub(crate) fn deny() -> Result<()> {
    cargo(&["deny", "check", "licenses", "bans", "sources"])
        .context("install it once with: cargo install --locked cargo-deny")
}

/// Generated files are what the code generates.
pub(crate) fn generated() -> Result<()> {
    let crds = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "kthena", "--", "crds"])
        .output()
        .context("kthena crds")?;
    if !crds.status.success() {
        bail!("kthena crds: {}", String::from_utf8_lossy(&crds.stderr));
    }
    let file = "deploy/crds/kthena-crds.yaml";
    let committed = std::fs::read(file).with_context(|| file.to_owned())?;
    if committed != crds.stdout {
        bail!("{file} is stale: cargo run -p kthena -- crds > {file}");
    }
    Ok(())
}

/// All tests and doc tests.
pub(crate) fn test() -> Result<()> {
    cargo(&["test", "--workspace"])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .status()
        .context("cargo")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}

/// Writes to standard output. A closed pipe is nobody's fault.
pub(crate) fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
