//! The Prometheus text format, one line at a time.
//!
//! Lines are looked at as bytes and labels stay unread until somebody asks for one, since most lines of a page belong
//! to histogram buckets that nobody wants. Those of a family can be passed over by the begin of the line alone.

use memchr::Memchr;

/// A line that says something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Line<'a> {
    /// `# TYPE family kind`.
    Declaration {
        /// The family.
        family: &'a [u8],
        /// What it is declared as.
        kind: &'a [u8],
    },
    /// A sample. Only its name is read yet.
    Sample(RawSample<'a>),
}

/// A sample of which only the name was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawSample<'a> {
    /// Name of the series, suffix included.
    pub name: &'a [u8],
    rest: &'a [u8],
}

/// A sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// What tells it from others of its name.
    pub labels: Labels<'a>,
    /// Its value, possibly not finite.
    pub value: f64,
}

/// The labels of a sample as they stand in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labels<'a>(&'a [u8]);

/// The lines of a page that are neither empty nor a remark, in order.
pub fn lines(page: &[u8]) -> Lines<'_> {
    Lines {
        page,
        begin: 0,
        ends: memchr::memchr_iter(b'\n', page),
        passed: &[],
        passed_as: Passed::Series,
    }
}

/// The lines of a page; see [`lines`].
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    page: &'a [u8],
    /// Where the next line begins.
    begin: usize,
    ends: Memchr<'a>,
    /// A family or series that nobody wants; empty = there is none.
    passed: &'a [u8],
    passed_as: Passed,
}

/// What a name that is passed over stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    Series,
    Family,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let text = self.next_line()?;
            if self.is_passed(text) {
                continue;
            }
            if let Some(line) = line(text) {
                return Some(line);
            }
        }
    }
}

impl<'a> Lines<'a> {
    /// Leaves out the samples of this series from here on, until something else is passed over.
    pub fn pass_over(&mut self, series: &'a [u8]) {
        self.pass(series, Passed::Series);
    }

    /// Leaves out the samples of all series of this family from here on, until something else is passed over.
    pub fn pass_over_family(&mut self, family: &'a [u8]) {
        self.pass(family, Passed::Family);
    }

    /// No sample begins like a remark, and no remark is passed over.
    fn pass(&mut self, name: &'a [u8], stands_for: Passed) {
        let name = if name.starts_with(b"#") { &[] } else { name };
        (self.passed, self.passed_as) = (name, stands_for);
    }

    /// One comparison of the name for most lines: what follows it is looked at first.
    fn is_passed(&self, line: &[u8]) -> bool {
        let name = self.passed.len();
        let Some((begin, rest)) = line.split_at_checked(name).filter(|_| name > 0) else {
            return false;
        };
        let ends = match rest {
            [b'{' | b' ', ..] => true,
            [b'_', ..] if self.passed_as == Passed::Family => {
                rest.starts_with(b"_bucket{")
                    || rest.starts_with(b"_sum{")
                    || rest.starts_with(b"_count{")
                    || rest.starts_with(b"_created{")
            }
            _ => false,
        };
        ends && begin == self.passed
    }

    fn next_line(&mut self) -> Option<&'a [u8]> {
        let left = self
            .page
            .get(self.begin..)
            .filter(|left| !left.is_empty())?;
        let line = match self.ends.next() {
            Some(end) => &self.page[self.begin..end],
            None => left,
        };
        self.begin += line.len() + 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

fn line(line: &[u8]) -> Option<Line<'_>> {
    let line = line.trim_ascii_start();
    if let Some(remark) = line.strip_prefix(b"#") {
        let (word, rest) = word(remark)?;
        let (family, rest) = word_if(word == b"TYPE", rest)?;
        let (kind, _) = self::word(rest)?;
        return Some(Line::Declaration { family, kind });
    }
    let end = memchr::memchr3(b'{', b' ', b'\t', line).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    (!name.is_empty()).then_some(Line::Sample(RawSample { name, rest }))
}

fn word_if(wanted: bool, text: &[u8]) -> Option<(&[u8], &[u8])> {
    wanted.then(|| word(text)).flatten()
}

/// The first word and what follows it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let end = memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

impl<'a> RawSample<'a> {
    /// Reads labels and value; `None` if the line is not a sample. A time stamp or exemplar behind the value is
    /// left alone.
    pub fn read(self) -> Option<Sample<'a>> {
        let rest = self.rest.trim_ascii_start();
        let (labels, rest) = match rest.strip_prefix(b"{") {
            Some(inside) => {
                let end = closing(inside)?;
                (Labels(&inside[..end]), &inside[end + 1..])
            }
            None => (Labels(&[]), rest),
        };
        let (value, _) = word(rest)?;
        let value = std::str::from_utf8(value).ok()?.parse().ok()?;
        Some(Sample { labels, value })
    }
}

/// Where the brace that ends the labels stands.
fn closing(labels: &[u8]) -> Option<usize> {
    let mut quoted = false;
    let mut at = 0;
    loop {
        match labels.get(at)? {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

impl<'a> Labels<'a> {
    /// The value of a label as it stands between its quotes, escapes included.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        let mut left = self.0;
        loop {
            left = left.trim_ascii_start();
            let equals = memchr::memchr(b'=', left)?;
            let key = left[..equals].trim_ascii();
            let value = left[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
            let end = end_of_quote(value)?;
            if key == name.as_bytes() {
                return Some(&value[..end]);
            }
            left = value[end + 1..].trim_ascii_start();
            left = left.strip_prefix(b",").unwrap_or(left);
        }
    }
}

fn end_of_quote(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match value.get(at)? {
            b'\\' => at += 1,
            b'"' => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests;
