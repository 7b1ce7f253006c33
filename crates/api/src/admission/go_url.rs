//! The parts of a URL that admission looks at, split as Go's `net/url` does.

/// A URL that could be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// In lower case.
    pub(super) scheme: String,
    /// With port, without user information.
    pub(super) host: String,
    pub(super) has_user: bool,
    /// True if something stands behind the question mark.
    pub(super) has_query: bool,
    /// True if something stands behind the hash.
    pub(super) has_fragment: bool,
}

/// `None` if Go's parser would refuse the text.
pub(super) fn parse(text: &str) -> Option<Url> {
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return None;
    }
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (scheme, rest) = scheme_of(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(after) => after.split_at(after.find('/').unwrap_or(after.len())),
        None => ("", rest),
    };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let escapes =
        escapes_are_valid(path) && escapes_are_valid(fragment) && user.is_none_or(user_is_valid);
    (escapes && host_is_valid(host)).then(|| Url {
        scheme: scheme.to_ascii_lowercase(),
        host: host.to_owned(),
        has_user: user.is_some(),
        has_query: !query.is_empty(),
        has_fragment: !fragment.is_empty(),
    })
}

fn scheme_of(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
    match end {
        Some(0) if text.starts_with(':') => None,
        Some(end)
            if text[end..].starts_with(':')
                && text.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            Some((&text[..end], &text[end + 1..]))
        }
        _ => Some(("", text)),
    }
}

fn escapes_are_valid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte != b'%' || (hex(at + 1) && hex(at + 2)))
}

fn user_is_valid(user: &str) -> bool {
    const SIGNS: &[u8] = b"-._:~!$&'()*+,;=%@";
    user.bytes()
        .all(|b| b.is_ascii_alphanumeric() || SIGNS.contains(&b))
        && escapes_are_valid(user)
}

fn host_is_valid(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner
            .split_once(']')
            .is_some_and(|(_, port)| port.is_empty() || port_is_valid(port));
    }
    let port = host.find(':').map_or("", |at| &host[at..]);
    let bad = |c: char| {
        matches!(
            c,
            ' ' | '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '}' | '|' | '%'
        )
    };
    (port.is_empty() || port_is_valid(port)) && !host.contains(bad)
}

fn port_is_valid(port: &str) -> bool {
    port.strip_prefix(':')
        .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}
