//! The formats of strings and integers that the API server checks; others are ignored, as there.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::node::Kind;

/// A format that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Int32,
    Int64,
    Float,
    Double,
    DateTime,
    Date,
    Duration,
    Uri,
    Uuid,
    Byte,
    Ipv4,
    Ipv6,
    Cidr,
    Hostname,
    Email,
}

impl Format {
    /// The format called `name`, if it is checked for values of this type.
    pub(crate) fn of(name: &str, kind: Option<Kind>) -> Option<Self> {
        let numeric = match name {
            "int32" => Some((Self::Int32, Kind::Integer)),
            "int64" => Some((Self::Int64, Kind::Integer)),
            "float" => Some((Self::Float, Kind::Number)),
            "double" => Some((Self::Double, Kind::Number)),
            _ => None,
        };
        if let Some((format, wanted)) = numeric {
            return (kind == Some(wanted)).then_some(format);
        }
        if !matches!(kind, None | Some(Kind::String)) {
            return None;
        }
        Some(match name.replace('-', "").as_str() {
            "datetime" => Self::DateTime,
            "date" => Self::Date,
            "duration" => Self::Duration,
            "uri" => Self::Uri,
            "uuid" => Self::Uuid,
            "byte" => Self::Byte,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "cidr" => Self::Cidr,
            "hostname" => Self::Hostname,
            "email" => Self::Email,
            _ => return None,
        })
    }

    /// The name in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Duration => "duration",
            Self::Uri => "uri",
            Self::Uuid => "uuid",
            Self::Byte => "byte",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Cidr => "cidr",
            Self::Hostname => "hostname",
            Self::Email => "email",
        }
    }

    /// True if `text` has this format; always true for the numeric ones.
    pub(crate) fn accepts(self, text: &str) -> bool {
        match self {
            Self::Int32 | Self::Int64 | Self::Float | Self::Double => true,
            Self::DateTime => date_time(text),
            Self::Date => date(text.as_bytes()),
            Self::Duration => duration(text),
            Self::Uri => request_uri(text),
            Self::Uuid => uuid(text),
            Self::Byte => base64(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Cidr => cidr(text),
            Self::Hostname => hostname(text),
            Self::Email => text
                .split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && hostname(host)),
        }
    }
}

/// Two digits at `at`, if they are and lie in `range`.
fn two(bytes: &[u8], at: usize, range: std::ops::RangeInclusive<u8>) -> bool {
    match bytes.get(at..at + 2) {
        Some([tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => {
            range.contains(&((tens - b'0') * 10 + (ones - b'0')))
        }
        _ => false,
    }
}

/// `2006-01-02`
fn date(bytes: &[u8]) -> bool {
    bytes.len() == 10
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && two(bytes, 5, 1..=12)
        && two(bytes, 8, 1..=31)
}

/// RFC 3339: `2006-01-02T15:04:05.999Z` or with an offset.
fn date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(rest) = bytes.get(19..) else {
        return false;
    };
    let time = matches!(bytes[10], b'T' | b't')
        && two(bytes, 11, 0..=23)
        && bytes[13] == b':'
        && two(bytes, 14, 0..=59)
        && bytes[16] == b':'
        && two(bytes, 17, 0..=59);
    if !date(&bytes[..10]) || !time {
        return false;
    }
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    if fraction == 1 {
        return false;
    }
    match &rest[fraction..] {
        [b'Z' | b'z'] => true,
        offset @ [b'+' | b'-', _, _, b':', _, _] => {
            two(offset, 1, 0..=24) && two(offset, 4, 0..=59)
        }
        _ => false,
    }
}

/// A number and a unit, possibly several times: what Go's parser and the words for units take.
fn duration(text: &str) -> bool {
    const UNITS: [&str; 8] = ["ns", "us", "\u{b5}s", "ms", "s", "m", "h", "d"];
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let digits = rest[..number].bytes().any(|b| b.is_ascii_digit());
        let after = rest[number..].trim_start_matches(' ');
        let unit = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        if !digits || !UNITS.contains(&&after[..unit]) {
            return false;
        }
        rest = &after[unit..];
    }
    !text.is_empty()
}

/// An absolute URI or an absolute path, as for the request line of HTTP.
fn request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b < 0x20 || b == 0x7f) || bad_escape(text) {
        return false;
    }
    if text.starts_with('/') || text == "*" {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let host = rest
        .strip_prefix("//")
        .map(|after| after.split(['/', '?']).next().unwrap_or(""));
    let host_ok = host.is_none_or(|host| {
        !host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '}']) && port_ok(host)
    });
    scheme_ok && !rest.is_empty() && host_ok
}

fn port_ok(host: &str) -> bool {
    let after_brackets = host.rsplit(']').next().unwrap_or(host);
    after_brackets
        .rsplit_once(':')
        .is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

fn bad_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes
        .iter()
        .enumerate()
        .any(|(at, byte)| *byte == b'%' && !(hex(at + 1) && hex(at + 2)))
}

fn uuid(text: &str) -> bool {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    let hyphens = text.bytes().enumerate().filter(|(_, b)| *b == b'-').count();
    digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit) && hyphens <= 4
}

fn base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let bits = length
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| length.parse::<u8>().ok())
        .flatten();
    match bits {
        Some(bits) if address.parse::<Ipv4Addr>().is_ok() => bits <= 32,
        Some(bits) if address.parse::<Ipv6Addr>().is_ok() => bits <= 128,
        _ => false,
    }
}

fn hostname(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}
