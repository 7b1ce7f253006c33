//! A text condition, compiled once.

use kthena_api::model_route::StringMatch;
use kthena_api::regex::{self, Regex};

/// How a text is compared; made from a [`StringMatch`], of which exact wins over prefix and prefix over regex.
#[derive(Debug, Clone)]
pub enum TextMatch {
    /// Nothing was asked.
    Any,
    /// The whole text.
    Exact(String),
    /// The start of the text.
    Prefix(String),
    /// Found anywhere in the text.
    Pattern(Regex),
    /// A pattern that does not compile: no text matches, and no client hears of it.
    Never,
}

impl TextMatch {
    /// Compiles `matcher`.
    pub fn compile(matcher: &StringMatch) -> Self {
        if let Some(exact) = &matcher.exact {
            Self::Exact(exact.clone())
        } else if let Some(prefix) = &matcher.prefix {
            Self::Prefix(prefix.clone())
        } else if let Some(pattern) = &matcher.regex {
            regex::compile(pattern).map_or(Self::Never, Self::Pattern)
        } else {
            Self::Any
        }
    }

    /// Whether `text` meets the condition. An absent header is the empty text.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => text == exact.as_bytes(),
            Self::Prefix(prefix) => text.starts_with(prefix.as_bytes()),
            Self::Pattern(pattern) => pattern.is_match(&String::from_utf8_lossy(text)),
            Self::Never => false,
        }
    }
}
