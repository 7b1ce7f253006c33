//! What a client may ask about itself: who it is and what it may do.
//!
//! Whoever holds the token may do everything, so the answers do not depend on the question.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, read::body};
use crate::{
    answer::{self, Answer},
    query::{OptionsKind, WriteOptions},
    review,
};

/// `POST` of a question; nothing is stored.
pub(crate) fn handle(call: &Call) -> Answer {
    if call.path.name.is_some() || call.method != Method::POST {
        return Err(call.unsupported());
    }
    let options = WriteOptions::read(&call.query, OptionsKind::Create)?;
    let decoded = body(call)?;
    let mut question = decoded.value;
    let warnings = review::intake(
        &call.kind,
        &mut question,
        &decoded.duplicates,
        options.field_validation,
    )?;
    question["status"] = status(&call.kind.kind);
    if !question["metadata"].is_object() {
        question["metadata"] = json!({});
    }
    let answer = answer::value(StatusCode::CREATED, call.accepted.encoding, &question);
    super::present::with_warnings(answer, &warnings)
}

fn status(kind: &str) -> Value {
    match kind {
        "SelfSubjectAccessReview" => json!({ "allowed": true }),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }),
        _ => json!({
            "userInfo": { "username": "kthena-local", "groups": ["system:masters", "system:authenticated"] },
        }),
    }
}
