//! Answers one request of the API server. Pure: the answer depends on the request alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use kthena_api::admission::Rules;
use serde::Deserialize;
use serde_json::{Value, json};

/// The only type of body that is understood.
const JSON: &str = "application/json";

/// A path and what it judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Path of the URL.
    pub path: &'static str,
    /// Whose rules.
    pub rules: Rules,
    /// It changes objects; otherwise it judges them.
    pub mutates: bool,
}

impl Endpoint {
    const fn judge(path: &'static str, rules: Rules) -> Self {
        Self {
            path,
            rules,
            mutates: false,
        }
    }

    const fn change(path: &'static str, rules: Rules) -> Self {
        Self {
            path,
            rules,
            mutates: true,
        }
    }

    /// What the controller manager serves.
    pub const CONTROLLER_MANAGER: &'static [Self] = &[
        Self::judge(
            "/validate-workload-ai-v1alpha1-modelserving",
            Rules::ModelServing,
        ),
        Self::judge("/validate/modelbooster", Rules::ModelBooster),
        Self::judge("/validate/autoscalingpolicy", Rules::AutoscalingPolicy),
        Self::change("/mutate/modelbooster", Rules::ModelBooster),
        Self::change("/mutate/autoscalingpolicy", Rules::AutoscalingPolicy),
    ];

    /// What the router serves.
    pub const ROUTER: &'static [Self] = &[
        Self::judge("/validate/modelroute", Rules::ModelRoute),
        Self::judge("/validate/modelserver", Rules::ModelServer),
        Self::judge(
            "/validate/externalmodelprovider",
            Rules::ExternalModelProvider,
        ),
    ];

    /// Kinds whose handlers came from another hand, with slightly other words.
    fn has_other_words(self) -> bool {
        matches!(self.rules, Rules::ModelBooster | Rules::AutoscalingPolicy)
    }
}

/// What is sent back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// One line of text.
    pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: text.into().into_bytes(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Request {
    uid: String,
    object: Value,
    old_object: Value,
}

/// Judges or changes the object of a review.
pub(crate) fn answer(endpoint: Endpoint, content_type: &str, body: &[u8]) -> Answer {
    match reviewed(endpoint, content_type, body) {
        Ok(review) => Answer {
            status: StatusCode::OK,
            content_type: JSON,
            body: review.to_string().into_bytes(),
        },
        Err(fault) => Answer::text(StatusCode::BAD_REQUEST, fault),
    }
}

fn reviewed(endpoint: Endpoint, content_type: &str, body: &[u8]) -> Result<Value, String> {
    if !is_json(content_type) {
        let expected = if endpoint.has_other_words() {
            "expect"
        } else {
            "expected"
        };
        return Err(format!(
            "invalid Content-Type, {expected} {JSON}, got {content_type}"
        ));
    }
    let review: Review =
        serde_json::from_slice(body).map_err(|error| format!("failed to decode body: {error}"))?;
    let request = review.request.ok_or("admission review request is nil")?;
    if !request.object.is_object() {
        return Err(if endpoint.has_other_words() {
            "empty object in admission request".to_owned()
        } else {
            format!("failed to decode {}: no object", camel(endpoint.rules))
        });
    }
    let mut response = json!({ "uid": request.uid, "allowed": true });
    if endpoint.mutates {
        let patch = endpoint.rules.mutate(&request.object);
        if !patch.is_empty() {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(Value::from(patch).to_string()));
        }
    } else {
        let old = Some(&request.old_object).filter(|old| old.is_object());
        let faults = endpoint.rules.validate(&request.object, old);
        if !faults.is_empty() {
            response["allowed"] = json!(false);
            response["status"] = json!({ "message": endpoint.rules.message(&faults) });
        }
    }
    Ok(json!({ "apiVersion": review.api_version, "kind": review.kind, "response": response }))
}

/// A character set may be named, as long as it is the only one JSON has.
fn is_json(content_type: &str) -> bool {
    let (kind, parameter) = content_type.split_once(';').unwrap_or((content_type, ""));
    let parameter = parameter.trim();
    kind.trim().eq_ignore_ascii_case(JSON)
        && (parameter.is_empty() || parameter.eq_ignore_ascii_case("charset=utf-8"))
}

/// `ModelServing` as `modelServing`.
fn camel(rules: Rules) -> String {
    let mut name = rules.kind().to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}

#[cfg(test)]
mod tests;
