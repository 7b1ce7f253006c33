//! The router's configuration file: where it is, and that it is.
//!
//! # Invariants
//!
//! - A file that was asked for must be there, and a file that is there must be right: its faults are listed at once
//!   and stop the start.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use kthena_router_proxy::{SchedulingConfig, SchedulingFile, read_configuration};

/// Where the file is if nobody says otherwise.
const DEFAULT_PATH: &str = "/etc/config/routerConfiguration.yaml";

/// Reads the file at `asked`, or the one at the default path if there is one.
pub(crate) fn load(asked: Option<&Path>) -> Result<SchedulingConfig> {
    let path = asked.unwrap_or(Path::new(DEFAULT_PATH));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if asked.is_none() && error.kind() == ErrorKind::NotFound => {
            tracing::warn!("{DEFAULT_PATH} does not exist; the built-in defaults are used");
            return Ok(SchedulingConfig::default());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    let config =
        read_configuration(&text).with_context(|| format!("{} is not valid", path.display()))?;
    let path = path.to_owned();
    let file = Some(SchedulingFile { path, text });
    Ok(SchedulingConfig { config, file })
}

#[cfg(test)]
mod tests;
