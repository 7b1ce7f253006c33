//! Walks JSON text by position: validates everything, decodes nothing.
//!
//! A walk is strict: grammar of RFC 8259, no control characters inside strings, no lone escapes. Bytes that are no
//! UTF-8 pass; the engine judges them. Nesting is bounded so that the call stack is.

use std::ops::Range;

use memchr::memchr2;

/// Nesting deeper than this is refused.
const MAX_DEPTH: u32 = 512;

/// Where a text stops being JSON, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON at byte {position}: {problem}")]
pub struct JsonFault {
    /// Offset from the start of the body.
    pub position: usize,
    /// What is wrong there.
    pub problem: JsonProblem,
}

/// What can be wrong at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonProblem {
    /// The text ends inside a value.
    #[error("unexpected end of input")]
    End,
    /// No value starts with this byte.
    #[error("a value was expected")]
    Value,
    /// Members are `"name": value`.
    #[error("a member name in quotes was expected")]
    Name,
    /// Something else stands between name and value.
    #[error("a colon was expected")]
    Colon,
    /// Something else stands after a member or element.
    #[error("a comma or a closing bracket was expected")]
    Separator,
    /// A digit is missing.
    #[error("a digit was expected")]
    Digit,
    /// Control characters must be escaped.
    #[error("a control character stands inside a string")]
    Control,
    /// No such escape.
    #[error("this escape does not exist")]
    Escape,
    /// Too many brackets are open.
    #[error("values are nested too deeply")]
    Depth,
    /// The body is a value of another kind.
    #[error("an object was expected")]
    NotObject,
}

/// A string: where it stands and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text {
    /// First byte after the opening quote.
    pub(crate) start: usize,
    /// The closing quote.
    pub(crate) end: usize,
    /// Unicode scalar values once decoded.
    pub(crate) chars: u64,
    /// Whether it holds an escape.
    pub(crate) escaped: bool,
}

/// A value that was walked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    True,
    False,
    Number { integer: bool },
    Text(Text),
    Array,
    Object,
}

pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

type Step<T> = Result<T, JsonFault>;

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: 0,
        }
    }

    /// A walk that begins at `at`, where a value stands that was walked over before.
    pub(crate) fn starting(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            depth: 0,
        }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn fault<T>(&self, problem: JsonProblem) -> Step<T> {
        let problem = if self.at >= self.bytes.len() {
            JsonProblem::End
        } else {
            problem
        };
        Err(JsonFault {
            position: self.at,
            problem,
        })
    }

    /// The next byte that is not white space, not consumed.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// The decoded text; borrowed unless it holds escapes. Bytes that are no UTF-8 are replaced.
    pub(crate) fn decode(&self, text: Text) -> std::borrow::Cow<'a, str> {
        let raw = &self.bytes[text.start..text.end];
        if text.escaped {
            let quoted = &self.bytes[text.start - 1..=text.end];
            let lossy = String::from_utf8_lossy(quoted);
            if let Ok(decoded) = serde_json::from_str::<String>(&lossy) {
                return decoded.into();
            }
        }
        String::from_utf8_lossy(raw)
    }

    /// Whether the decoded text is `other`.
    pub(crate) fn is(&self, text: Text, other: &str) -> bool {
        if text.escaped {
            self.decode(text) == other
        } else {
            &self.bytes[text.start..text.end] == other.as_bytes()
        }
    }

    /// Walks over one value and says what it was and where.
    pub(crate) fn value(&mut self) -> Step<(Kind, Range<usize>)> {
        let first = self.peek();
        let start = self.at;
        let kind = match first {
            Some(b'"') => Kind::Text(self.text()?),
            Some(b'{') => {
                self.object(|scanner, _| scanner.value().map(|_| ()))?;
                Kind::Object
            }
            Some(b'[') => {
                self.array(|scanner| scanner.value().map(|_| ()))?;
                Kind::Array
            }
            Some(b't') => self.literal(b"true", Kind::True)?,
            Some(b'f') => self.literal(b"false", Kind::False)?,
            Some(b'n') => self.literal(b"null", Kind::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return self.fault(JsonProblem::Value),
        };
        Ok((kind, start..self.at))
    }

    /// Walks over an object, whose `{` is next. `member` is called with each name and must walk over its value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Text) -> Step<()>,
    ) -> Step<()> {
        self.open()?;
        if self.peek() == Some(b'}') {
            self.close();
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fault(JsonProblem::Name);
            }
            let name = self.text()?;
            if self.peek() != Some(b':') {
                return self.fault(JsonProblem::Colon);
            }
            self.at += 1;
            member(self, name)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.close();
                    return Ok(());
                }
                _ => return self.fault(JsonProblem::Separator),
            }
        }
    }

    /// Walks over an array, whose `[` is next. `element` must walk over one value.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Step<()>) -> Step<()> {
        self.open()?;
        if self.peek() == Some(b']') {
            self.close();
            return Ok(());
        }
        loop {
            element(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.close();
                    return Ok(());
                }
                _ => return self.fault(JsonProblem::Separator),
            }
        }
    }

    fn open(&mut self) -> Step<()> {
        if self.depth == MAX_DEPTH {
            return self.fault(JsonProblem::Depth);
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Step<Kind> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(kind);
        }
        let shared = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
        self.at += shared;
        self.fault(JsonProblem::Value)
    }

    fn number(&mut self) -> Step<Kind> {
        let mut integer = true;
        if self.next_is(b"-") {
            self.at += 1;
        }
        if self.next_is(b"0") {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.next_is(b".") {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if self.next_is(b"eE") {
            integer = false;
            self.at += 1;
            if self.next_is(b"+-") {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Kind::Number { integer })
    }

    fn next_is(&self, any: &[u8]) -> bool {
        self.bytes
            .get(self.at)
            .is_some_and(|byte| any.contains(byte))
    }

    fn digits(&mut self) -> Step<()> {
        let count = self.bytes[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 {
            return self.fault(JsonProblem::Digit);
        }
        self.at += count;
        Ok(())
    }

    /// Walks over a string, whose opening quote is next.
    pub(crate) fn text(&mut self) -> Step<Text> {
        self.at += 1;
        let start = self.at;
        let mut chars = 0;
        let mut escaped = false;
        loop {
            let rest = &self.bytes[self.at..];
            let run = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            let (scalars, control) = measure(&rest[..run]);
            if control {
                self.at += rest[..run].iter().take_while(|byte| **byte >= 0x20).count();
                return self.fault(JsonProblem::Control);
            }
            chars += scalars;
            self.at += run;
            match rest.get(run) {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(Text {
                        start,
                        end,
                        chars,
                        escaped,
                    });
                }
                Some(_) => self.escape()?,
                None => return self.fault(JsonProblem::End),
            }
            escaped = true;
            chars += 1;
        }
    }

    /// Walks over one escape, or over the two that make a surrogate pair: one scalar value either way.
    fn escape(&mut self) -> Step<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = self.unit()?;
                let low_follows = self.bytes[self.at..].starts_with(b"\\u");
                if (0xd800..0xdc00).contains(&unit) && low_follows {
                    let before = self.at;
                    if !(0xdc00..0xe000).contains(&self.unit()?) {
                        self.at = before;
                    }
                }
            }
            Some(_) => return self.fault(JsonProblem::Escape),
            None => {
                self.at = self.bytes.len();
                return self.fault(JsonProblem::End);
            }
        }
        Ok(())
    }

    /// The code unit of the `\uXXXX` that is next.
    fn unit(&mut self) -> Step<u32> {
        let mut value = 0;
        self.at += 2;
        for _ in 0..4 {
            let Some(digit) = self
                .bytes
                .get(self.at)
                .and_then(|byte| char::from(*byte).to_digit(16))
            else {
                return self.fault(JsonProblem::Escape);
            };
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }
}

/// Scalar values in `run`, and whether a control character is among them. Written for the vectoriser.
fn measure(run: &[u8]) -> (u64, bool) {
    let mut scalars = 0_u64;
    let mut lowest = u8::MAX;
    for block in run.chunks(128) {
        let mut count = 0_u8;
        for byte in block {
            count += u8::from(byte & 0xc0 != 0x80);
            lowest = lowest.min(*byte);
        }
        scalars += u64::from(count);
    }
    (scalars, lowest < 0x20)
}

#[cfg(test)]
mod tests;
