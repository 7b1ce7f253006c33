//! The `continue` token: where a chunked list stopped and which version it shows.
//!
//! The client must treat it as opaque; it is the URL-safe base64 of a small JSON object.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::object::ObjectKey;

const FORM: &str = "meta.k8s.io/v1";

/// A position in a chunked list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Continuation {
    /// The version all chunks show; `None` for an inconsistent rest.
    pub(super) version: Option<u64>,
    /// The last object already sent.
    pub(super) after: ObjectKey,
}

#[derive(Serialize, Deserialize)]
struct Raw {
    v: String,
    rv: i64,
    start: String,
}

impl Continuation {
    pub(super) fn encode(&self) -> String {
        let start = format!("{}/{}\0", self.after.namespace, self.after.name);
        let rv = self.version.map_or(-1, u64::cast_signed);
        let raw = Raw {
            v: FORM.to_owned(),
            rv,
            start,
        };
        // A struct of two texts and a number always serializes.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&raw).unwrap_or_default())
    }

    pub(super) fn decode(token: &str) -> Result<Self, ApiError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(token.trim_end_matches('='))
            .map_err(|error| invalid(&error.to_string()))?;
        let raw: Raw =
            serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if raw.v != FORM {
            return Err(invalid("server does not recognize this encoded version"));
        }
        let version = match raw.rv {
            0 => return Err(invalid("incorrect encoded start resourceVersion")),
            rv => u64::try_from(rv).ok(),
        };
        let (namespace, name) = raw
            .start
            .trim_end_matches('\0')
            .split_once('/')
            .ok_or_else(|| invalid("no start key"))?;
        Ok(Self {
            version,
            after: ObjectKey::new(namespace, name),
        })
    }
}

fn invalid(why: &str) -> ApiError {
    ApiError::bad_request(format!(
        "invalid continue token: continue key is not valid: {why}"
    ))
}
