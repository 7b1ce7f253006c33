//! The router's configuration file.
//!
//! # Invariants
//!
//! - A file that was asked for must be there, and a file that is there must be right: its faults are listed at once
//!   and stop the start.
//! - Unknown keys are ignored, so that files of other releases load. They are named once.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kthena_router_proxy::{
    SchedulerConfig, SchedulerConfigError, SchedulingConfig, SchedulingFile,
};
use serde_yaml_ng::Value;

/// Where the file is if nobody says otherwise.
const DEFAULT_PATH: &str = "/etc/config/routerConfiguration.yaml";

/// Reads the file at `asked`, or the one at the default path if there is one.
pub(super) fn load(asked: Option<&Path>) -> Result<SchedulingConfig> {
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
    let config = parse(&text).with_context(|| format!("{} is not valid", path.display()))?;
    let path = path.to_owned();
    let file = Some(SchedulingFile { path, text });
    Ok(SchedulingConfig { config, file })
}

fn parse(text: &str) -> Result<SchedulerConfig> {
    let config: Value = serde_yaml_ng::from_str(text)?;
    let mut faults = Vec::new();
    if !matches!(config, Value::Mapping(_) | Value::Null) {
        faults.push("expected a mapping with the keys scheduler and auth".to_owned());
    }
    check_auth(&config, &mut faults);
    let scheduler = check_scheduler(text, &mut faults);
    if faults.is_empty() {
        return Ok(scheduler);
    }
    let mut all = String::new();
    for fault in &faults {
        // Writing to a String cannot fail.
        let _ = write!(all, "\n  {fault}");
    }
    bail!("{} faults:{all}", faults.len())
}

/// How requests are placed; what has no effect is said.
fn check_scheduler(text: &str, faults: &mut Vec<String>) -> SchedulerConfig {
    match SchedulerConfig::read(text) {
        Ok(read) => {
            for notice in &read.notices {
                tracing::warn!("router configuration: {notice}");
            }
            return read.config;
        }
        Err(SchedulerConfigError::Faults(found)) => {
            // A file that is no mapping at all was found to be so already.
            let inside = found.iter().filter(|fault| fault.path != "file");
            faults.extend(inside.map(ToString::to_string));
        }
        Err(error @ SchedulerConfigError::Malformed(_)) => faults.push(error.to_string()),
    }
    SchedulerConfig::default()
}

/// `auth` must not be ignored: requests would be let in that nobody checked.
fn check_auth(config: &Value, faults: &mut Vec<String>) {
    let Some(auth) = config.get("auth").filter(|auth| !auth.is_null()) else {
        return;
    };
    if !auth.is_mapping() {
        faults.push("auth: expected a mapping".to_owned());
        return;
    }
    for key in ["jwksUri", "issuer"] {
        if auth
            .get(key)
            .is_some_and(|value| !value.is_string() && !value.is_null())
        {
            faults.push(format!("auth.{key}: expected a text"));
        }
    }
    let audiences = auth.get("audiences").filter(|value| !value.is_null());
    let texts = |list: &Vec<Value>| list.iter().all(Value::is_string);
    if audiences.is_some_and(|value| !value.as_sequence().is_some_and(texts)) {
        faults.push("auth.audiences: expected a list of texts".to_owned());
    }
    let uri = auth.get("jwksUri").and_then(Value::as_str);
    if uri.is_some_and(|uri| !uri.is_empty()) {
        faults.push("auth.jwksUri: this release does not authenticate requests".to_owned());
    }
}

#[cfg(test)]
mod tests;
