//! The models an engine has loaded: its base model and its adapters.

use serde::Deserialize;

/// Why an answer to `GET /v1/models` could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the list of models cannot be read")]
pub struct ModelsFault(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Listing {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
}

/// The ids of a `/v1/models` answer, in order, each once.
pub fn model_ids(body: &[u8]) -> Result<Vec<String>, ModelsFault> {
    let listing: Listing = serde_json::from_slice(body)?;
    let mut ids: Vec<String> = listing.data.into_iter().map(|entry| entry.id).collect();
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::model_ids;

    #[rstest]
    #[case::base_and_adapter(r#"{"object":"list","data":[{"id":"base"},{"id":"sql","parent":"base"}]}"#, &["base", "sql"])]
    #[case::twice(r#"{"data":[{"id":"a"},{"id":"a"}]}"#, &["a"])]
    #[case::none(r#"{"data":[]}"#, &[])]
    fn reads_ids(#[case] body: &str, #[case] expected: &[&str]) {
        assert_eq!(model_ids(body.as_bytes()).unwrap(), expected);
    }

    #[rstest]
    #[case::no_list("{}")]
    #[case::no_id(r#"{"data":[{}]}"#)]
    #[case::text("not found")]
    #[case::nothing("")]
    fn refuses(#[case] body: &str) {
        assert!(model_ids(body.as_bytes()).is_err());
    }

    #[test]
    fn reads_what_a_vllm_answered() {
        let ids = model_ids(include_bytes!("../fixtures/vllm-0.32-models.json"));
        assert_eq!(ids.unwrap(), ["tiny"]);
    }
}
