//! The API a request's path belongs to.

/// A path of an inference API. Paths that are not listed are served alike; they only share one metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApiPath(&'static str);

const OTHER: &str = "other";
const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const RESPONSES: &str = "/v1/responses";

const KNOWN: [&str; 15] = [
    CHAT,
    COMPLETIONS,
    "/v1/embeddings",
    RESPONSES,
    "/v1/messages",
    "/v1/models",
    "/v1/rerank",
    "/v1/score",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/",
];

impl ApiPath {
    /// The API of this path, query cut off.
    pub fn of(path: &str) -> Self {
        Self(
            KNOWN
                .iter()
                .copied()
                .find(|known| *known == path)
                .unwrap_or(OTHER),
        )
    }

    /// Value of the metric label `path`: bounded, whatever clients send.
    pub fn label(self) -> &'static str {
        self.0
    }

    /// Whether it is the Responses API.
    pub(crate) fn is_responses(self) -> bool {
        self.0 == RESPONSES
    }

    /// Whether requests may carry `stream_options` and `include_usage`.
    pub(crate) fn takes_usage_wish(self) -> bool {
        self.0 == CHAT || self.0 == COMPLETIONS
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::ApiPath;

    #[rstest]
    #[case::chat("/v1/chat/completions", "/v1/chat/completions")]
    #[case::completions("/v1/completions", "/v1/completions")]
    #[case::embeddings("/v1/embeddings", "/v1/embeddings")]
    #[case::responses("/v1/responses", "/v1/responses")]
    #[case::messages("/v1/messages", "/v1/messages")]
    #[case::models("/v1/models", "/v1/models")]
    #[case::rerank("/v1/rerank", "/v1/rerank")]
    #[case::score("/v1/score", "/v1/score")]
    #[case::audio("/v1/audio/transcriptions", "/v1/audio/transcriptions")]
    #[case::images("/v1/images/generations", "/v1/images/generations")]
    #[case::one_model("/v1/models/llama", "other")]
    #[case::trailing_slash("/v1/completions/", "other")]
    #[case::another_case("/V1/completions", "other")]
    #[case::made_up("/v1/9f3b2c", "other")]
    fn clients_cannot_make_up_labels(#[case] path: &str, #[case] label: &str) {
        assert_eq!(ApiPath::of(path).label(), label);
    }
}
