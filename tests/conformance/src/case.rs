//! The format of a case file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

/// One thing a server must do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What holds, as a sentence; unique in its file.
    pub name: String,
    /// Set if only one of the servers can answer as expected.
    #[serde(default)]
    pub only: Option<Only>,
    /// The requests, in order.
    pub steps: Vec<Step>,
}

/// The server a case is limited to, with the reason as a comment in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// The embedded server, for messages that come from a webhook in a cluster.
    Embedded,
    /// The real server.
    Real,
}

/// A request with its expectation, a watch to open, or events to read from an open watch.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// A request that is answered at once.
    Request(Box<Request>),
    /// Opens a watch that stays open under a name.
    Watch(Watch),
    /// Reads events from an open watch.
    Events(Events),
}

/// A request and what its answer must hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Method and path, such as `GET {core}/configmaps/a`.
    #[serde(rename = "do")]
    pub line: String,
    /// Request headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Content type of the body: `json`, `merge`, `json-patch`, `strategic`, `apply` or a full media type.
    #[serde(default, rename = "type")]
    pub content_type: Option<String>,
    /// The body as a value.
    #[serde(default)]
    pub body: Option<Value>,
    /// The body as text, for bodies that are not JSON.
    #[serde(default)]
    pub text: Option<String>,
    /// Expected status; 201 for POST and 200 otherwise if absent.
    #[serde(default)]
    pub code: Option<u16>,
    /// Expected `reason` of a Status.
    #[serde(default)]
    pub reason: Option<String>,
    /// Expected `message` of a Status; a map compares as in `match`.
    #[serde(default)]
    pub message: Option<Value>,
    /// What the JSON body must hold.
    #[serde(default, rename = "match")]
    pub body_match: Option<Value>,
    /// What a body that is not JSON must be.
    #[serde(default)]
    pub text_match: Option<Value>,
    /// What the answer's headers must hold, by lower-case name.
    #[serde(default)]
    pub header_match: Option<Value>,
    /// Variables to set from the body: name to JSON pointer.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// Asks again until the expectation holds.
    #[serde(default)]
    pub eventually: bool,
}

/// A watch that is opened and kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The path with its query.
    pub watch: String,
    /// Request headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Name of the watch; `w` if absent.
    #[serde(default = "default_watch", rename = "as")]
    pub name: String,
}

/// Events that an open watch must give next, in this order and no others between them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Each a map of one entry: the type and what the object must hold.
    pub events: Vec<BTreeMap<String, Value>>,
    /// Name of the watch; `w` if absent.
    #[serde(default = "default_watch")]
    pub of: String,
    /// The stream must end after the events.
    #[serde(default)]
    pub closed: bool,
}

fn default_watch() -> String {
    "w".to_owned()
}

/// Reads all cases of a file.
pub fn load(path: &Path) -> anyhow::Result<Vec<Case>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let cases: Vec<Case> = serde_yaml_ng::from_str(&text)
        .with_context(|| format!("cannot understand {}", path.display()))?;
    for (position, case) in cases.iter().enumerate() {
        let twice = cases[..position]
            .iter()
            .any(|earlier| earlier.name == case.name);
        anyhow::ensure!(
            !twice,
            "{}: two cases are called {:?}",
            path.display(),
            case.name
        );
    }
    Ok(cases)
}
