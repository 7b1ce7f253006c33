//! Regular expressions in Go's RE2 syntax, compiled by the `regex` crate.
//!
//! Users write patterns for the public project's Go code. The two syntaxes differ in small ways: `\d`, `\w`, `\s` and
//! `\b` mean ASCII only, `\Q…\E` quotes, a lone `{` is a literal, `[` inside a class is a literal, counted repetition
//! ends at 1000, and a repetition may not be repeated. A translation settles these; what RE2 refuses is
//! refused with its text. Matching is an unanchored search.

mod class;
mod translate;

#[cfg(test)]
mod tests;

/// Nesting of groups beyond which RE2 gives up.
const MAX_DEPTH: u32 = 1000;
/// Bytes a compiled pattern may take.
const MAX_COMPILED: usize = 16 << 20;

/// A compiled pattern. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Regex {
    source: Box<str>,
    /// On bytes, because an ASCII `\B` may not appear in a pattern on text; haystacks are text all the same.
    compiled: regex::bytes::Regex,
}

/// Why a pattern is refused; prints as Go does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}: `{fragment}`")]
pub struct RegexError {
    /// What is wrong.
    pub reason: &'static str,
    /// The part of the pattern that is.
    pub fragment: String,
}

impl RegexError {
    pub(crate) fn new(reason: &'static str, fragment: impl Into<String>) -> Self {
        Self {
            reason,
            fragment: fragment.into(),
        }
    }
}

impl Regex {
    /// True if the pattern occurs anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text.as_bytes())
    }

    /// The pattern as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The first match in `text`, as byte positions.
    pub fn find(&self, text: &str) -> Option<std::ops::Range<usize>> {
        self.compiled
            .find(text.as_bytes())
            .map(|found| found.range())
    }
}

/// Compiles a pattern in RE2 syntax.
pub fn compile(pattern: &str) -> Result<Regex, RegexError> {
    let translated = translate::translate(pattern)?;
    regex::bytes::RegexBuilder::new(&translated)
        .nest_limit(MAX_DEPTH)
        .size_limit(MAX_COMPILED)
        .build()
        .map(|compiled| Regex {
            source: pattern.into(),
            compiled,
        })
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => RegexError::new("expression too large", pattern),
            _ => RegexError::new("invalid or unsupported syntax", pattern),
        })
}
