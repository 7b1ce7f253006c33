//! Conditions of a `ModelRoute` on headers, path and model: any pattern against any text.

use kthena_api::model_route::StringMatch;
use kthena_router_routing::text_match::TextMatch;

use crate::split::instructions;

/// Compares a text with a condition; both come from the input, on either side of the first line feed.
pub fn headers(data: &[u8]) {
    let ([kind], rest) = instructions(data);
    let cut = rest.iter().position(|byte| *byte == b'\n');
    let (pattern, text) = rest.split_at(cut.unwrap_or(rest.len()));
    let text = text.strip_prefix(b"\n").unwrap_or(text);
    let Ok(pattern) = std::str::from_utf8(pattern) else {
        return;
    };
    let mut wanted = StringMatch::default();
    match kind % 3 {
        0 => wanted.exact = Some(pattern.to_owned()),
        1 => wanted.prefix = Some(pattern.to_owned()),
        _ => wanted.regex = Some(pattern.to_owned()),
    }
    let compiled = TextMatch::compile(&wanted);
    let found = compiled.matches(text);
    match kind % 3 {
        0 => assert_eq!(found, text == pattern.as_bytes(), "exact"),
        1 => assert_eq!(
            found,
            text.get(..pattern.len()) == Some(pattern.as_bytes()),
            "prefix"
        ),
        _ => pattern_holds(pattern, &compiled, found, text),
    }
}

/// A pattern is searched anywhere, so more text around it takes no match away unless the pattern asks for borders.
fn pattern_holds(pattern: &str, compiled: &TextMatch, found: bool, text: &[u8]) {
    if matches!(compiled, TextMatch::Never) {
        assert!(!found, "a pattern that does not compile matches nothing");
        return;
    }
    let plain = pattern
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain {
        let text = String::from_utf8_lossy(text);
        assert_eq!(found, text.contains(pattern), "plain text as a pattern");
    }
}
