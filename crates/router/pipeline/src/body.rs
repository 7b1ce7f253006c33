//! What the router needs from a request body, found by position in one walk.

use std::ops::Range;

use smallvec::SmallVec;

use crate::error::RouteError;
use crate::json::{JsonFault, JsonProblem, Kind, Scanner};
use crate::prompt::{self, Parts, PromptFacts};

/// Facts and positions of a body. Of a name that occurs twice the last value counts, as engines read it.
#[derive(Debug)]
pub struct BodyFacts {
    /// Decoded value of `model`, untrimmed, not blank.
    pub model: String,
    /// `stream` is `true`.
    pub stream: bool,
    /// The prompt; `None` if there is none or it cannot be read.
    pub prompt: Option<PromptFacts>,
    pub(crate) spans: Spans,
}

/// Where the members stand that may be edited.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// Just after the opening brace.
    pub(crate) inside: usize,
    /// Values of `model`, all of them, so that no reader finds an old one.
    pub(crate) model: SmallVec<[Range<usize>; 1]>,
    pub(crate) stream_options: Option<StreamOptions>,
    /// Value of a top-level `include_usage`.
    pub(crate) include_usage: Option<Range<usize>>,
}

#[derive(Debug)]
pub(crate) struct StreamOptions {
    /// The whole value.
    pub(crate) value: Range<usize>,
    pub(crate) shape: OptionsShape,
}

#[derive(Debug)]
pub(crate) enum OptionsShape {
    Other,
    Object {
        empty: bool,
        /// Value of `include_usage`, and whether it is `true`.
        include_usage: Option<(Range<usize>, bool)>,
    },
}

#[derive(Default)]
struct Found {
    model: Option<String>,
    stream: bool,
    parts: Parts,
    spans: Spans,
}

impl BodyFacts {
    /// Walks over `body`.
    pub fn read(body: &[u8]) -> Result<Self, RouteError> {
        let mut scanner = Scanner::new(body);
        let mut found = Found::default();
        match scanner.peek() {
            Some(b'{') => {
                found.spans.inside = scanner.position() + 1;
                scanner.object(|scanner, name| found.member(scanner, name))?;
            }
            _ => other_value(&mut scanner)?,
        }
        if scanner.peek().is_some() {
            return Err(RouteError::TrailingData);
        }
        let model = found
            .model
            .filter(|model| !model.trim().is_empty())
            .ok_or(RouteError::ModelMissing)?;
        Ok(Self {
            model,
            stream: found.stream,
            prompt: found.parts.resolve(),
            spans: found.spans,
        })
    }

    /// The prompt, or why the request cannot be served.
    pub fn require_prompt(&self) -> Result<PromptFacts, RouteError> {
        self.prompt.ok_or(RouteError::PromptMissing)
    }
}

/// `null` is an object without members; nothing else but an object will do.
fn other_value(scanner: &mut Scanner<'_>) -> Result<(), JsonFault> {
    let (kind, span) = scanner.value()?;
    if kind == Kind::Null {
        Ok(())
    } else {
        Err(JsonFault {
            position: span.start,
            problem: JsonProblem::NotObject,
        })
    }
}

impl Found {
    fn member(
        &mut self,
        scanner: &mut Scanner<'_>,
        name: crate::json::Text,
    ) -> Result<(), JsonFault> {
        match &*scanner.decode(name) {
            "model" => {
                let (kind, span) = scanner.value()?;
                self.spans.model.push(span);
                self.model = match kind {
                    Kind::Text(text) => Some(scanner.decode(text).into_owned()),
                    _ => None,
                };
            }
            "stream" => self.stream = scanner.value()?.0 == Kind::True,
            "stream_options" => self.spans.stream_options = Some(stream_options(scanner)?),
            "include_usage" => self.spans.include_usage = Some(scanner.value()?.1),
            "prompt" => self.parts.prompt = prompt::prompt(scanner)?,
            "messages" => self.parts.messages = prompt::messages(scanner)?,
            "system" => self.parts.system = prompt::content(scanner)?,
            "input" => self.parts.input = prompt::input(scanner)?,
            "instructions" => self.parts.instructions = prompt::instructions(scanner)?,
            _ => {
                scanner.value()?;
            }
        }
        Ok(())
    }
}

fn stream_options(scanner: &mut Scanner<'_>) -> Result<StreamOptions, JsonFault> {
    if scanner.peek() != Some(b'{') {
        return Ok(StreamOptions {
            value: scanner.value()?.1,
            shape: OptionsShape::Other,
        });
    }
    let start = scanner.position();
    let mut empty = true;
    let mut include_usage = None;
    scanner.object(|scanner, name| {
        empty = false;
        let (kind, span) = scanner.value()?;
        if scanner.is(name, "include_usage") {
            include_usage = Some((span, kind == Kind::True));
        }
        Ok(())
    })?;
    let shape = OptionsShape::Object {
        empty,
        include_usage,
    };
    Ok(StreamOptions {
        value: start..scanner.position(),
        shape,
    })
}

#[cfg(test)]
mod tests;
