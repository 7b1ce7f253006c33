//! Reads token counts out of an answer that passes by.
//!
//! Every protocol reports them as an object under the key `usage`. A quote inside a text is escaped, so the bytes
//! `"usage":{` can only be that key. Only candidates are decoded; everything else is one substring search.
//!
//! # Invariants
//!
//! - The result does not depend on how the answer was cut into segments.
//! - At most a few kilobytes are kept, and only while a candidate is incomplete.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;

const NEEDLE: &[u8] = b"\"usage\"";
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NEEDLE));
/// A longer object is no usage report.
const LONGEST: usize = 4096;

/// Tokens of a request as the engine counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Tokens that were generated.
    pub completion: u64,
}

/// A usage object of any of the protocols.
#[derive(Debug, Default, Deserialize)]
struct RawUsage {
    #[serde(rename = "prompt_tokens")]
    prompt: Option<u64>,
    #[serde(rename = "completion_tokens")]
    completion: Option<u64>,
    #[serde(rename = "total_tokens")]
    total: Option<u64>,
    #[serde(rename = "input_tokens")]
    input: Option<u64>,
    #[serde(rename = "output_tokens")]
    output: Option<u64>,
    #[serde(rename = "cache_creation_input_tokens")]
    cache_written: Option<u64>,
    #[serde(rename = "cache_read_input_tokens")]
    cache_read: Option<u64>,
}

/// Watches the payload of an answer.
#[derive(Debug, Default)]
pub struct UsageTap {
    found: Option<Usage>,
    carry: Vec<u8>,
}

/// What a scan of a buffer left open.
enum Rest {
    Nothing,
    From(usize),
}

impl RawUsage {
    fn resolve(&self) -> Option<Usage> {
        let cached = self
            .cache_written
            .unwrap_or(0)
            .saturating_add(self.cache_read.unwrap_or(0));
        let prompt = self
            .prompt
            .or_else(|| self.input.map(|input| input.saturating_add(cached)))
            .unwrap_or(0);
        let completion = self.completion.or(self.output).unwrap_or(0);
        let total = self.total.unwrap_or(prompt.saturating_add(completion));
        (total > 0).then_some(Usage { prompt, completion })
    }
}

impl UsageTap {
    /// Looks at the next segment of the payload.
    pub fn feed(&mut self, segment: &[u8]) {
        if self.carry.is_empty() {
            if let Rest::From(start) = self.scan(segment) {
                self.carry = segment[start..].to_vec();
            }
            return;
        }
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend_from_slice(segment);
        if let Rest::From(start) = self.scan(&joined) {
            joined.drain(..start);
            self.carry = joined;
        }
    }

    /// The last counts seen; of each count the last that was not zero, because protocols report cumulatively and
    /// some report prompt and completion apart.
    pub fn usage(&self) -> Option<Usage> {
        self.found
    }

    fn note(&mut self, usage: Usage) {
        let found = self.found.get_or_insert_default();
        if usage.prompt > 0 {
            found.prompt = usage.prompt;
        }
        if usage.completion > 0 {
            found.completion = usage.completion;
        }
    }

    fn scan(&mut self, buffer: &[u8]) -> Rest {
        let mut at = 0;
        while let Some(offset) = FINDER.find(&buffer[at..]) {
            let start = at + offset;
            at = start + NEEDLE.len();
            match object_after(&buffer[at..]) {
                After::Object(object) => {
                    if let Some(usage) = serde_json::from_slice::<RawUsage>(object)
                        .ok()
                        .and_then(|raw| raw.resolve())
                    {
                        self.note(usage);
                    }
                }
                After::Incomplete if buffer.len() - start <= LONGEST => return Rest::From(start),
                After::Incomplete | After::Other => {}
            }
        }
        // The needle itself may be cut in two.
        let longest = (NEEDLE.len() - 1).min(buffer.len() - at);
        let cut = (1..=longest)
            .rev()
            .find(|length| buffer.ends_with(&NEEDLE[..*length]));
        cut.map_or(Rest::Nothing, |length| Rest::From(buffer.len() - length))
    }
}

enum After<'a> {
    Object(&'a [u8]),
    Incomplete,
    Other,
}

/// The object behind `: ` at the start of `rest`.
fn object_after(rest: &[u8]) -> After<'_> {
    let blank = |from: usize| {
        from + rest[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count()
    };
    let colon = blank(0);
    match rest.get(colon) {
        Some(b':') => {}
        Some(_) => return After::Other,
        None => return After::Incomplete,
    }
    let open = blank(colon + 1);
    match rest.get(open) {
        Some(b'{') => {}
        Some(_) => return After::Other,
        None => return After::Incomplete,
    }
    let mut depth = 0_u32;
    let mut quoted = false;
    let mut escaped = false;
    for (offset, byte) in rest[open..].iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return After::Object(&rest[open..=open + offset]);
                }
            }
            _ => {}
        }
    }
    After::Incomplete
}

/// Whether `buffer` may hold a usage report: the substring test that precedes everything else.
pub fn may_report(buffer: &[u8]) -> bool {
    let mut at = 0;
    while let Some(offset) = FINDER.find(&buffer[at..]) {
        at += offset + NEEDLE.len();
        if !matches!(object_after(&buffer[at..]), After::Other) {
            return true;
        }
    }
    false
}

/// Whether an event's JSON consists of a usage report alone: counts, and no choice.
pub fn is_only_usage(event: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Event {
        usage: Option<RawUsage>,
        choices: Option<Vec<IgnoredAny>>,
    }
    serde_json::from_slice::<Event>(event).is_ok_and(|event| {
        event.usage.is_some_and(|usage| usage.resolve().is_some())
            && event.choices.is_none_or(|choices| choices.is_empty())
    })
}

#[cfg(test)]
mod tests;
