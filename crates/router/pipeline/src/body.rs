//! What the router needs from a request body, found by position in one walk.

use std::ops::Range;

use kthena_router_connectors::Member;
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
    /// Decoded value of `user`, if it is a text.
    pub user: Option<String>,
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
    /// Members that a connector may change, in order, each as often as it occurs.
    pub(crate) members: SmallVec<[MemberSpan; 6]>,
    /// How many top-level members there are.
    pub(crate) count: usize,
}

/// One occurrence of a top-level member and what stands around it.
#[derive(Debug, Clone)]
pub(crate) struct MemberSpan {
    pub(crate) member: Member,
    /// Position among all top-level members, from 0.
    pub(crate) ordinal: usize,
    /// End of the member before it, or just after the opening brace.
    pub(crate) before: usize,
    /// The opening quote of its name.
    pub(crate) start: usize,
    pub(crate) value: Range<usize>,
    pub(crate) is_null: bool,
    /// The opening quote of the next member's name; the end of the value if it is the last.
    pub(crate) next: usize,
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
    user: Option<String>,
    parts: Parts,
    spans: Spans,
    /// Where the last member ended.
    end: usize,
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
            user: found.user,
            spans: found.spans,
        })
    }

    /// Tokens the client allows for the answer, if `body` says; 0 = not said.
    pub fn max_output_tokens(&self, body: &[u8]) -> u64 {
        let value = |member| {
            let all = self.spans.members.iter();
            let last = all.rev().find(|span| span.member == member)?;
            std::str::from_utf8(&body[last.value.clone()])
                .ok()?
                .parse()
                .ok()
        };
        value(Member::MaxCompletionTokens)
            .or_else(|| value(Member::MaxTokens))
            .unwrap_or(0)
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
        let (start, before) = (name.start - 1, self.end.max(self.spans.inside));
        let ordinal = self.spans.count;
        self.spans.count += 1;
        let last = self.spans.members.last_mut();
        if let Some(last) = last.filter(|last| last.ordinal + 1 == ordinal) {
            last.next = start;
        }
        let name = scanner.decode(name);
        if let Some(member) = changeable(&name) {
            let (kind, value) = self.changeable(scanner, member)?;
            self.spans.members.push(MemberSpan {
                member,
                ordinal,
                before,
                start,
                is_null: kind == Kind::Null,
                next: value.end,
                value,
            });
        } else {
            self.other(scanner, &name)?;
        }
        self.end = scanner.position();
        Ok(())
    }

    /// A member that a connector may change.
    fn changeable(
        &mut self,
        scanner: &mut Scanner<'_>,
        member: Member,
    ) -> Result<(Kind, Range<usize>), JsonFault> {
        if member == Member::StreamOptions {
            let options = stream_options(scanner)?;
            let value = options.value.clone();
            self.spans.stream_options = Some(options);
            return Ok((Kind::Object, value));
        }
        let (kind, value) = scanner.value()?;
        if member == Member::Stream {
            self.stream = kind == Kind::True;
        }
        Ok((kind, value))
    }

    fn other(&mut self, scanner: &mut Scanner<'_>, name: &str) -> Result<(), JsonFault> {
        match name {
            "model" => {
                let (kind, span) = scanner.value()?;
                self.spans.model.push(span);
                self.model = match kind {
                    Kind::Text(text) => Some(scanner.decode(text).into_owned()),
                    _ => None,
                };
            }
            "user" => {
                self.user = match scanner.value()?.0 {
                    Kind::Text(text) => Some(scanner.decode(text).into_owned()),
                    _ => None,
                };
            }
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

/// The member of this name, if a connector may change it.
fn changeable(name: &str) -> Option<Member> {
    Member::ALL.into_iter().find(|member| member.name() == name)
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
