//! The body of a request: found by position, patched in place.

use kthena_router_pipeline::{ApiPath, BodyFacts, Edits, PromptReader};
use serde_json::{Map, Value};

use crate::split::instructions;

/// Members that an engine is told otherwise.
const EDITED: [&str; 3] = ["model", "stream_options", "include_usage"];

/// Reads any body as the router does. Where a decoder of JSON takes it too, both must see the same, and the patched
/// body must be the old one but for what was changed.
pub fn body(data: &[u8]) {
    let ([choice], text) = instructions(data);
    let decoded = serde_json::from_slice::<Map<String, Value>>(text).ok();
    let decoded = decoded.filter(|decoded| !name(decoded).trim().is_empty());
    let facts = match BodyFacts::read(text) {
        Ok(facts) => facts,
        Err(error) => {
            assert!(decoded.is_none(), "refused with {error:?}");
            return;
        }
    };
    if let Some(prompt) = &facts.prompt {
        let reader = PromptReader::new(text, prompt);
        drop((reader.completion(), reader.messages()));
    }
    let path = ApiPath::of(if choice & 1 == 0 {
        "/v1/chat/completions"
    } else {
        "/v1/embeddings"
    });
    let model = (choice & 2 == 0).then_some("other \"name\"");
    let edits = Edits::for_engine(&facts, path, model);
    let patched: Vec<u8> = edits.pieces(text).flatten().copied().collect();
    assert_eq!(patched.len(), edits.length(text), "announced length");
    let Some(decoded) = decoded else { return };
    assert_eq!(facts.model, name(&decoded), "model");
    let streams = decoded.get("stream") == Some(&Value::Bool(true));
    assert_eq!(facts.stream, streams, "stream");
    unchanged(&decoded, &patched, model.unwrap_or(&facts.model));
}

fn name(body: &Map<String, Value>) -> &str {
    body.get("model")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn unchanged(before: &Map<String, Value>, patched: &[u8], model: &str) {
    let after: Map<String, Value> =
        serde_json::from_slice(patched).expect("a patched body is still JSON");
    assert_eq!(name(&after), model, "the new model");
    let kept = |(member, _): &(&String, &Value)| !EDITED.contains(&member.as_str());
    assert!(
        before.iter().filter(kept).eq(after.iter().filter(kept)),
        "a member changed that should not"
    );
}
