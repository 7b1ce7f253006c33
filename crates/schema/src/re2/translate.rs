//! RE2 syntax in, the `regex` crate's syntax out. One pass, no tree.

use super::class;
use super::{MAX_DEPTH, RegexError};

/// Largest count in `{n,m}`, and largest product of nested counts.
const MAX_REPEAT: u32 = 1000;

/// What stands before the current position, as far as a repetition operator cares.
#[derive(Clone, Copy)]
enum Before {
    /// Nothing that can be repeated.
    Nothing,
    /// An atom, with the largest product of counts inside it.
    Atom(u32),
    /// A repetition that began at this byte.
    Repeat(usize),
}

pub(super) struct Translator<'p> {
    pub(super) pattern: &'p str,
    pub(super) at: usize,
    pub(super) out: String,
    before: Before,
    /// Per open group: the largest product of counts seen in it.
    groups: Vec<u32>,
}

pub(super) fn translate(pattern: &str) -> Result<String, RegexError> {
    let mut translator = Translator {
        pattern,
        at: 0,
        out: String::with_capacity(pattern.len() + 8),
        before: Before::Nothing,
        groups: vec![1],
    };
    while let Some(c) = translator.peek() {
        translator.step(c)?;
    }
    if translator.groups.len() > 1 {
        return Err(RegexError::new("missing closing )", pattern));
    }
    Ok(translator.out)
}

impl Translator<'_> {
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn rest(&self) -> &str {
        &self.pattern[self.at..]
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn step(&mut self, c: char) -> Result<(), RegexError> {
        match c {
            '(' => self.open(),
            ')' => self.close(),
            '|' => {
                self.bump();
                self.out.push('|');
                self.before = Before::Nothing;
                Ok(())
            }
            '[' => {
                class::translate(self)?;
                self.atom(1);
                Ok(())
            }
            '*' | '+' | '?' => self.repeat(c, 1),
            '{' => self.counted(),
            '\\' => self.escape(),
            '^' | '$' | '.' => {
                self.bump();
                self.out.push(c);
                self.atom(1);
                Ok(())
            }
            _ => {
                self.bump();
                push_literal(&mut self.out, c);
                self.atom(1);
                Ok(())
            }
        }
    }

    fn atom(&mut self, count: u32) {
        self.before = Before::Atom(count);
        if let Some(group) = self.groups.last_mut() {
            *group = (*group).max(count);
        }
    }

    fn open(&mut self) -> Result<(), RegexError> {
        let start = self.at;
        if self.groups.len() as u64 > u64::from(MAX_DEPTH) {
            return Err(RegexError::new("expression nests too deeply", self.pattern));
        }
        self.bump();
        self.out.push('(');
        if self.peek() == Some('?') && self.group_flags(start)? {
            // `(?i)` changes flags and opens nothing.
            self.before = Before::Nothing;
            return Ok(());
        }
        self.groups.push(1);
        self.before = Before::Nothing;
        Ok(())
    }

    /// What follows `(?`. True if it was a setting of flags alone.
    fn group_flags(&mut self, start: usize) -> Result<bool, RegexError> {
        let head = &self.pattern[self.at..];
        if let Some(after) = head.strip_prefix("?P<").or_else(|| head.strip_prefix("?<")) {
            let Some(length) = after.find('>') else {
                return Err(RegexError::new(
                    "invalid named capture",
                    &self.pattern[start..],
                ));
            };
            let name = &after[..length];
            let end = self.at + (head.len() - after.len()) + length + 1;
            let valid =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !valid {
                return Err(RegexError::new(
                    "invalid named capture",
                    &self.pattern[start..end],
                ));
            }
            // A leading digit is a name to RE2 but not to the engine below; nobody can refer to it anyway.
            if !name.starts_with(|c: char| c.is_ascii_digit()) {
                self.out.push_str(&self.pattern[self.at..end]);
            }
            self.at = end;
            return Ok(false);
        }
        self.bump();
        self.out.push('?');
        loop {
            let Some(c) = self.bump() else {
                return Err(RegexError::new(
                    "missing argument to repetition operator",
                    "?",
                ));
            };
            match c {
                'i' | 'm' | 's' | 'U' | '-' => self.out.push(c),
                ':' | ')' => {
                    self.out.push(c);
                    return Ok(c == ')');
                }
                _ => {
                    let fragment = &self.pattern[start..self.at];
                    return Err(RegexError::new(
                        "invalid or unsupported Perl syntax",
                        fragment,
                    ));
                }
            }
        }
    }

    fn close(&mut self) -> Result<(), RegexError> {
        if self.groups.len() == 1 {
            return Err(RegexError::new("unexpected )", self.pattern));
        }
        self.bump();
        self.out.push(')');
        let count = self.groups.pop().unwrap_or(1);
        self.atom(count);
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else that starts with a brace is a literal.
    fn counted(&mut self) -> Result<(), RegexError> {
        let start = self.at;
        let Some((min, max, length)) = parse_counts(self.rest()) else {
            self.bump();
            self.out.push_str("\\{");
            self.atom(1);
            return Ok(());
        };
        let fragment = &self.pattern[start..start + length];
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return Err(RegexError::new("invalid repeat count", fragment));
        }
        let inner = match self.before {
            Before::Atom(inner) => inner,
            _ => 1,
        };
        let product = inner.saturating_mul(max.unwrap_or(min).max(1));
        if product > MAX_REPEAT {
            return Err(RegexError::new("invalid repeat count", fragment));
        }
        let text = fragment.to_owned();
        self.operator(&text, product)
    }

    fn repeat(&mut self, c: char, factor: u32) -> Result<(), RegexError> {
        let inner = match self.before {
            Before::Atom(inner) => inner,
            _ => 1,
        };
        self.operator(&c.to_string(), inner.saturating_mul(factor))
    }

    fn operator(&mut self, text: &str, product: u32) -> Result<(), RegexError> {
        let start = self.at;
        self.at += text.len();
        let lazy = self.peek() == Some('?');
        if lazy {
            self.bump();
        }
        match self.before {
            Before::Nothing => {
                return Err(RegexError::new(
                    "missing argument to repetition operator",
                    text,
                ));
            }
            Before::Repeat(from) => {
                let fragment = &self.pattern[from..self.at];
                return Err(RegexError::new(
                    "invalid nested repetition operator",
                    fragment,
                ));
            }
            Before::Atom(_) => {}
        }
        self.out.push_str(text);
        if lazy {
            self.out.push('?');
        }
        self.atom(product);
        self.before = Before::Repeat(start);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), RegexError> {
        let start = self.at;
        if let Some(quoted) = self.rest().strip_prefix("\\Q") {
            let (text, skip) = quoted
                .find("\\E")
                .map_or((quoted, quoted.len()), |end| (&quoted[..end], end + 2));
            let text = text.to_owned();
            self.at += 2 + skip;
            for c in text.chars() {
                push_literal(&mut self.out, c);
                self.atom(1);
            }
            return Ok(());
        }
        self.bump();
        let Some(c) = self.peek() else {
            return Err(RegexError::new(
                "trailing backslash at end of expression",
                "",
            ));
        };
        let assertion = match c {
            'A' | 'z' => Some(format!("\\{c}")),
            'b' => Some(String::from("(?-u:\\b)")),
            'B' => Some(String::from("(?-u:\\B)")),
            _ => class::perl(c).map(str::to_owned),
        };
        if let Some(text) = assertion {
            self.bump();
            self.out.push_str(&text);
        } else if matches!(c, 'p' | 'P') {
            class::unicode(self, start)?;
        } else {
            let literal = class::escaped_char(self, start)?;
            push_literal(&mut self.out, literal);
        }
        self.atom(1);
        Ok(())
    }
}

/// Minimum, maximum (`None` = open) and length of a counted repetition at the start of `text`.
fn parse_counts(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let end = text.find('}')?;
    let inner = &text[1..end];
    let (min, max) = match inner.split_once(',') {
        None => {
            let count = parse_count(inner)?;
            (count, Some(count))
        }
        Some((min, "")) => (parse_count(min)?, None),
        Some((min, max)) => (parse_count(min)?, Some(parse_count(max)?)),
    };
    Some((min, max, end + 1))
}

/// A count without sign or leading zero; one that is too large to hold is too large anyway.
fn parse_count(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = text.len() == 1 || !text.starts_with('0');
    (digits && plain).then(|| text.parse().unwrap_or(u32::MAX))
}

/// A character that stands for itself, outside or inside a class. Not every escape means that: `\<` is a boundary.
pub(super) fn push_literal(out: &mut String, c: char) {
    if matches!(
        c,
        '\\' | '.'
            | '+'
            | '*'
            | '?'
            | '('
            | ')'
            | '|'
            | '['
            | ']'
            | '{'
            | '}'
            | '^'
            | '$'
            | '#'
            | '&'
            | '-'
            | '~'
    ) {
        out.push('\\');
    }
    out.push(c);
}
