//! Reads the options of a request from its query string; names are those of the Kubernetes API.
//!
//! # Invariants
//!
//! - An option that is absent or empty is `None`; an option that cannot be read is an error naming it.
//! - Unknown options are ignored, as the real server does.

#[cfg(test)]
mod tests;

use kthena_apiserver_objects::{ApiError, store::RawListOptions};
use kthena_schema::{Fault, FieldPath};

use crate::request_info::percent_decode;

/// The decoded `key=value` pairs of a query string.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// An option whose value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse query parameter {option:?}: {value:?} is not {expected}")]
pub(crate) struct BadOption {
    option: &'static str,
    value: String,
    expected: &'static str,
}

impl From<BadOption> for ApiError {
    fn from(option: BadOption) -> Self {
        Self::bad_request(option.to_string())
    }
}

/// The kinds of option objects, as refusals name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionsKind {
    Create,
    Update,
    Patch,
    Delete,
}

impl OptionsKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch => "PatchOptions",
            Self::Delete => "DeleteOptions",
        }
    }

    /// Options that can be read but not granted.
    pub(crate) fn invalid(self, fault: Fault) -> ApiError {
        ApiError::Invalid {
            group: "meta.k8s.io".into(),
            kind: self.name().into(),
            name: String::new(),
            faults: vec![fault],
        }
    }
}

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                let plain = |text: &str| percent_decode(&text.replace('+', " "));
                (plain(key), plain(value))
            })
            .collect();
        Self { pairs }
    }

    pub(crate) fn text(&self, option: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, value)| key == option && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// All values of an option that may be repeated.
    pub(crate) fn all<'a>(&'a self, option: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(key, _)| key == option)
            .map(|(_, value)| value.as_str())
    }

    /// `true`, `1` and an option without a value mean yes.
    pub(crate) fn flag(&self, option: &'static str) -> Result<bool, BadOption> {
        Ok(self.optional_flag(option)?.unwrap_or(false))
    }

    /// As [`Query::flag`], but tells an absent option from one that is off.
    pub(crate) fn optional_flag(&self, option: &'static str) -> Result<Option<bool>, BadOption> {
        let Some((_, value)) = self.pairs.iter().find(|(key, _)| key == option) else {
            return Ok(None);
        };
        match value.as_str() {
            "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Some(false)),
            _ => Err(bad(option, value, "a boolean")),
        }
    }

    pub(crate) fn number(&self, option: &'static str) -> Result<Option<i64>, BadOption> {
        self.text(option)
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| bad(option, value, "a whole number"))
            })
            .transpose()
    }
}

fn bad(option: &'static str, value: &str, expected: &'static str) -> BadOption {
    BadOption {
        option,
        value: value.to_owned(),
        expected,
    }
}

/// Options of list and watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadOptions {
    /// What the object store reads itself.
    pub(crate) raw: RawListOptions,
    pub(crate) watch: bool,
    pub(crate) allow_bookmarks: bool,
    pub(crate) timeout_seconds: Option<u64>,
}

impl ReadOptions {
    pub(crate) fn read(query: &Query) -> Result<Self, BadOption> {
        let owned = |option| query.text(option).map(ToOwned::to_owned);
        Ok(Self {
            raw: RawListOptions {
                label_selector: owned("labelSelector"),
                field_selector: owned("fieldSelector"),
                limit: owned("limit"),
                continue_token: owned("continue"),
                resource_version: owned("resourceVersion"),
                resource_version_match: owned("resourceVersionMatch"),
                send_initial_events: query.optional_flag("sendInitialEvents")?,
            },
            watch: query.flag("watch")?,
            allow_bookmarks: query.flag("allowWatchBookmarks")?,
            timeout_seconds: query
                .number("timeoutSeconds")?
                .and_then(|n| u64::try_from(n).ok()),
        })
    }
}

/// What happens to fields the schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so in `Warning` headers.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// Options of create, update and patch.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) field_manager: Option<String>,
    pub(crate) field_validation: FieldValidation,
    pub(crate) force: Option<bool>,
}

impl WriteOptions {
    pub(crate) fn read(query: &Query, kind: OptionsKind) -> Result<Self, ApiError> {
        let field_validation = match query.text("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let path = FieldPath::new("fieldValidation");
                let supported = ["", "Ignore", "Strict", "Warn"];
                return Err(kind.invalid(Fault::not_supported(path, other, &supported)));
            }
        };
        Ok(Self {
            dry_run: dry_run(query, kind)?,
            field_manager: query.text("fieldManager").map(ToOwned::to_owned),
            field_validation,
            force: query.optional_flag("force")?,
        })
    }
}

/// Whether `dryRun=All` was given; any other value is refused.
pub(crate) fn dry_run(query: &Query, kind: OptionsKind) -> Result<bool, ApiError> {
    let asked: Vec<&str> = query
        .all("dryRun")
        .filter(|value| !value.is_empty())
        .collect();
    if asked.iter().any(|value| *value != "All") {
        let fault = Fault::not_supported(FieldPath::new("dryRun"), asked, &["All"]);
        return Err(kind.invalid(fault));
    }
    Ok(!asked.is_empty())
}
