//! Header fields by position, and which of them concern one connection only.

use std::ops::Range;

use smallvec::SmallVec;

/// Most fields a head may have.
pub(crate) const MAX_FIELDS: usize = 100;

/// Where a name or value stands in the buffer of its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

/// The fields of a head in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Fields(SmallVec<[(Span, Span); 24]>);

impl Span {
    /// Where `part`, a slice of `buffer`, stands in it.
    pub(crate) fn of(buffer: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(buffer.as_ptr() as usize);
        let clamp = |offset: usize| u32::try_from(offset.min(buffer.len())).unwrap_or(u32::MAX);
        Self {
            start: clamp(start),
            end: clamp(start.saturating_add(part.len())),
        }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn bytes(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.range()]
    }
}

impl Fields {
    pub(crate) fn of(buffer: &[u8], headers: &[httparse::Header<'_>]) -> Self {
        let spans = headers.iter().map(|header| {
            (
                Span::of(buffer, header.name.as_bytes()),
                Span::of(buffer, header.value),
            )
        });
        Self(spans.collect())
    }

    pub(crate) fn iter<'a>(
        &'a self,
        buffer: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.bytes(buffer), value.bytes(buffer)))
    }

    /// Values of the field `name`, in any case.
    pub(crate) fn all<'a>(
        &'a self,
        buffer: &'a [u8],
        name: &'a str,
    ) -> impl Iterator<Item = &'a [u8]> {
        self.iter(buffer)
            .filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    pub(crate) fn first<'a>(&'a self, buffer: &'a [u8], name: &'a str) -> Option<&'a [u8]> {
        self.all(buffer, name).next()
    }
}

/// Elements of a comma-separated value, trimmed.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether a field concerns this connection only, so that it is never passed on. `listed` are the names that the
/// message's `Connection` fields list.
pub(crate) fn is_hop_by_hop(name: &[u8], listed: &[&[u8]]) -> bool {
    let fixed: &[&str] = match name.len() {
        2 => &["te"],
        7 => &["trailer", "upgrade"],
        10 => &["connection", "keep-alive"],
        16 => &["proxy-connection"],
        17 => &["transfer-encoding"],
        18 => &["proxy-authenticate"],
        19 => &["proxy-authorization"],
        _ => &[],
    };
    fixed
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
        || listed.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// The one length of a body, or why the message must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Neither field is there.
    Unsaid,
    Sized(u64),
    Chunked,
}

/// The message's fields contradict each other or use a coding that cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AmbiguousLength;

/// Reads `Content-Length` and `Transfer-Encoding`.
pub(crate) fn length(fields: &Fields, buffer: &[u8]) -> Result<Length, AmbiguousLength> {
    let mut sized: Option<u64> = None;
    let mut chunked = false;
    for (name, value) in fields.iter(buffer) {
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value)
                .map_err(|_| AmbiguousLength)?
                .trim();
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(AmbiguousLength);
            }
            let length = digits.parse().map_err(|_| AmbiguousLength)?;
            if sized.is_some_and(|before| before != length) {
                return Err(AmbiguousLength);
            }
            sized = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(AmbiguousLength);
            }
            chunked = true;
        }
    }
    match (sized, chunked) {
        (Some(_), true) => Err(AmbiguousLength),
        (Some(length), false) => Ok(Length::Sized(length)),
        (None, true) => Ok(Length::Chunked),
        (None, false) => Ok(Length::Unsaid),
    }
}
