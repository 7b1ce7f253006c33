//! The router's configuration file, as a whole: what is for the scheduler, and what is not served.
//!
//! # Invariants
//!
//! - All faults are found at once, and a file with any changes nothing.
//! - A file that asks for authentication is a fault: requests would be let in that nobody checked.
//! - Unknown keys are ignored, so that files of other releases load. They are named once.

use std::fmt::{self, Display};

use kthena_router_plugins::{ConfigError, SchedulerConfig};
use serde_yaml_ng::Value;

/// What is wrong with a configuration file: a line for each place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigurationFaults(Vec<String>);

impl ConfigurationFaults {
    /// One by one, each with its place in the file.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Display for ConfigurationFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} faults:", self.0.len())?;
        self.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Reads a configuration file. What has no effect is said in the log.
///
/// # Errors
///
/// All that is wrong with it.
pub fn read_configuration(text: &str) -> Result<SchedulerConfig, ConfigurationFaults> {
    let file: Value = serde_yaml_ng::from_str(text)
        .map_err(|error| ConfigurationFaults(vec![format!("not valid YAML: {error}")]))?;
    let mut faults = Vec::new();
    if !matches!(file, Value::Mapping(_) | Value::Null) {
        faults.push("expected a mapping with the keys scheduler and auth".to_owned());
    }
    check_auth(&file, &mut faults);
    match SchedulerConfig::read(text) {
        Ok(read) if faults.is_empty() => {
            for notice in &read.notices {
                tracing::warn!("router configuration: {notice}");
            }
            return Ok(read.config);
        }
        Ok(_) => {}
        Err(ConfigError::Faults(found)) => {
            // A file that is no mapping at all was found to be so already.
            let inside = found.iter().filter(|fault| fault.path != "file");
            faults.extend(inside.map(ToString::to_string));
        }
        Err(error @ ConfigError::Malformed(_)) => faults.push(error.to_string()),
    }
    Err(ConfigurationFaults(faults))
}

fn check_auth(file: &Value, faults: &mut Vec<String>) {
    let Some(auth) = file.get("auth").filter(|auth| !auth.is_null()) else {
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
mod tests {
    use rstest::rstest;

    use super::read_configuration;

    #[rstest]
    #[case::authentication("auth: {jwksUri: https://issuer/keys}", &["auth.jwksUri"])]
    #[case::no_yaml("a: [", &[])]
    #[case::no_mapping("just a text", &["mapping"])]
    #[case::all_at_once(
        "{auth: {jwksUri: https://issuer/keys, issuer: 3, audiences: one}, scheduler: {}}",
        &["auth.jwksUri", "auth.issuer", "auth.audiences", "scheduler.plugins.Score", "4 faults"]
    )]
    fn is_refused(#[case] text: &str, #[case] named: &[&str]) {
        let error = read_configuration(text).unwrap_err().to_string();
        for name in named {
            assert!(error.contains(name), "{error}");
        }
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_authentication("auth: {jwksUri: \"\", audiences: []}")]
    #[case::keys_of_other_releases("tracing: {endpoint: somewhere}")]
    fn is_taken(#[case] text: &str) {
        read_configuration(text).unwrap();
    }
}
