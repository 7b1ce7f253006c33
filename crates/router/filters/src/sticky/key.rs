//! Where the key of a session stands in a request.

use std::borrow::Cow;

use kthena_api::model_route::{SessionSource, SessionSourceType, SessionSticky};
use sha2::{Digest, Sha256};

/// A longer value is no key, in bytes.
pub const LONGEST_KEY: usize = 4096;

/// A request as far as keys may stand in it.
pub trait RequestParts {
    /// Values of a header, in order; the name is in any case.
    fn header<'s>(&'s self, name: &str) -> Box<dyn Iterator<Item = &'s [u8]> + 's>;

    /// The query of the URL as it was sent, without the question mark; empty if there is none.
    fn query(&self) -> &[u8];

    /// Value of the body's field `user`.
    fn body_user(&self) -> Option<&str>;

    /// A claim of the verified token; nothing without authentication.
    fn claim(&self, name: &str) -> Option<&str> {
        let _ = name;
        None
    }
}

/// Stands for one session of one route: a hash, from which neither can be told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey(u128);

impl SessionKey {
    /// The key of the request's session on the route `namespace/name`: the first source that has a value.
    pub fn of(route: &str, sticky: &SessionSticky, request: &dyn RequestParts) -> Option<Self> {
        let value = sticky
            .sources
            .iter()
            .find_map(|source| value(source, request))?;
        let mut hash = Sha256::new();
        // With its length in front, so that no route and value read like another pair.
        hash.update((route.len() as u64).to_le_bytes());
        hash.update(route);
        hash.update(value);
        let digest: [u8; 32] = hash.finalize().into();
        let (half, _) = digest.split_first_chunk()?;
        Some(Self(u128::from_be_bytes(*half)))
    }

    /// The hash. The same for the same session in every router.
    pub fn get(self) -> u128 {
        self.0
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionKey({:032x})", self.0)
    }
}

fn value<'r>(source: &SessionSource, request: &'r dyn RequestParts) -> Option<Cow<'r, [u8]>> {
    let usable = |value: &Cow<'r, [u8]>| (1..=LONGEST_KEY).contains(&value.len());
    let text = |text: &'r str| Cow::Borrowed(text.as_bytes());
    let name = source.name.as_str();
    let found = match source.kind {
        SessionSourceType::Header => request
            .header(name)
            .map(|value| Cow::Borrowed(value.trim_ascii()))
            .find(usable),
        SessionSourceType::Cookie => request
            .header("cookie")
            .flat_map(|line| line.split(|byte| *byte == b';'))
            .filter_map(|crumb| split_once(crumb.trim_ascii(), b'='))
            .filter(|(crumb, _)| *crumb == name.as_bytes())
            .map(|(_, value)| Cow::Borrowed(value))
            .find(usable),
        SessionSourceType::Query => request
            .query()
            .split(|byte| *byte == b'&')
            .filter_map(|pair| split_once(pair, b'='))
            .filter(|(parameter, _)| *decoded(parameter) == *name.as_bytes())
            .map(|(_, value)| decoded(value))
            .find(usable),
        SessionSourceType::Body if name == "user" => request.body_user().map(text),
        SessionSourceType::Body => None,
        SessionSourceType::JwtClaim => request.claim(name).map(text),
    };
    found.filter(usable)
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|byte| *byte == at)?;
    Some((&text[..position], &text[position + 1..]))
}

/// The bytes that a part of a query means: `+` is a space, `%41` an `A`; what is no code stays as it is.
fn decoded(part: &[u8]) -> Cow<'_, [u8]> {
    if !part.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(part);
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (*first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if let Some(byte) = hex(*high, *low) => {
                bytes.push(byte);
                rest = after;
            }
            (byte, _) => bytes.push(byte),
        }
    }
    Cow::Owned(bytes)
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests;
