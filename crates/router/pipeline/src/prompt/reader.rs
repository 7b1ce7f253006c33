//! Gives out a prompt's text from where it stands in the body.

use std::ops::{ControlFlow, Range};

use kthena_router_scheduler::PromptText;
use memchr::memchr;

use super::{Lead, PromptFacts, Source, Step, USER, item, part, text};
use crate::json::{JsonFault, JsonProblem, Kind, Scanner, Text};

/// The prompt of a body that was [read](crate::BodyFacts::read) before. Nothing is copied, and nothing beyond the
/// piece at which its reader stops is looked at.
#[derive(Debug, Clone, Copy)]
pub struct PromptReader<'b> {
    body: &'b [u8],
    source: Source,
}

/// One message of a chat, flattened to text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `user`, `assistant` and so on, as the client wrote it.
    pub role: String,
    /// Its texts, joined by line feeds.
    pub content: String,
}

type Take<'t> = &'t mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// Gives pieces to a reader until it has enough, which ends the walk as a fault would.
struct Giver<'t> {
    take: Take<'t>,
}

/// The role of a message: a text of the body, or known.
#[derive(Clone, Copy)]
enum RoleText {
    Found(Text),
    Known(&'static str),
}

impl<'b> PromptReader<'b> {
    /// The prompt of `body`, of which `facts` were read.
    pub fn new(body: &'b [u8], facts: &PromptFacts) -> Self {
        Self {
            body,
            source: facts.source,
        }
    }

    /// The whole text of a completion's prompt; `None` for chats, token ids and prompts that are several texts.
    pub fn completion(&self) -> Option<String> {
        let Source::Prompt(at) = self.source else {
            return None;
        };
        let mut scanner = Scanner::starting(self.body, at);
        match scanner.value().ok()?.0 {
            Kind::Text(text) => Some(scanner.decode(text).into_owned()),
            _ => None,
        }
    }

    /// The messages of a chat in order, those before the list included; none for completions.
    pub fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        // The body was read whole before, so the walk cannot fail.
        let _ = self.walk(&mut |scanner, role, content| {
            let mut text = Vec::new();
            let _ = Giver {
                take: &mut |piece| {
                    text.extend_from_slice(piece);
                    ControlFlow::Continue(())
                },
            }
            .content(self.body, content);
            let role = match role {
                RoleText::Found(text) => scanner.decode(text).into_owned(),
                RoleText::Known(role) => role.to_owned(),
            };
            messages.push(Message {
                role,
                content: String::from_utf8_lossy(&text).into_owned(),
            });
            Ok(())
        });
        messages
    }

    /// Visits each message: role, and where its content stands.
    fn walk(&self, visit: &mut dyn FnMut(&Scanner<'_>, RoleText, usize) -> Step<()>) -> Step<()> {
        let (lead, role, value) = match self.source {
            Source::Nowhere | Source::Prompt(_) => return Ok(()),
            Source::Messages { system, list } => (system, "system", list),
            Source::Input {
                instructions,
                value,
            } => (instructions, "developer", value),
        };
        let mut scanner = Scanner::starting(self.body, value);
        if let Some(lead) = lead {
            visit(&scanner, RoleText::Known(role), lead)?;
        }
        if scanner.peek() != Some(b'[') {
            return visit(&scanner, RoleText::Known(USER), value);
        }
        let is_input = matches!(self.source, Source::Input { .. });
        scanner.array(|scanner| {
            let item = item(scanner)?;
            let found = if is_input {
                item.of_input()
            } else {
                item.role.zip(item.content)
            };
            match found {
                Some((role, Lead { at, .. })) => visit(scanner, RoleText::Found(role), at),
                None => Ok(()),
            }
        })
    }
}

impl PromptText for PromptReader<'_> {
    fn pieces(&self, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        let mut giver = Giver { take };
        // Whatever ends the walk early, nothing is to be done about it: the reader has enough.
        let _ = match self.source {
            Source::Prompt(at) => giver.completion(self.body, at),
            _ => self.walk(&mut |_, role, content| giver.message(self.body, role, content)),
        };
    }
}

/// What an element of an array adds to the prompt.
enum Piece {
    Text(Text),
    AsWritten(Range<usize>),
}

impl Giver<'_> {
    fn give(&mut self, piece: &[u8]) -> Step<()> {
        match (self.take)(piece) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(JsonFault {
                position: 0,
                problem: JsonProblem::End,
            }),
        }
    }

    fn message(&mut self, body: &[u8], role: RoleText, content: usize) -> Step<()> {
        self.give(b"<|im_start|>")?;
        match role {
            RoleText::Found(role) => self.text(body, role)?,
            RoleText::Known(role) => self.give(role.as_bytes())?,
        }
        self.give(b"\n")?;
        self.content(body, content)?;
        self.give(b"<|im_end|>\n")
    }

    /// A text, or parts of which some are text, joined by line feeds.
    fn content(&mut self, body: &[u8], at: usize) -> Step<()> {
        self.joined(body, at, |scanner| Ok(part(scanner)?.map(Piece::Text)))
    }

    /// A text, texts joined by line feeds, or token ids as they are written.
    fn completion(&mut self, body: &[u8], at: usize) -> Step<()> {
        self.joined(body, at, |scanner| {
            scanner.peek();
            let (kind, span) = scanner.value()?;
            Ok(Some(match kind {
                Kind::Text(text) => Piece::Text(text),
                _ => Piece::AsWritten(span),
            }))
        })
    }

    /// A text, or what `next` finds in each element of an array, joined by line feeds.
    fn joined(
        &mut self,
        body: &[u8],
        at: usize,
        next: impl Fn(&mut Scanner<'_>) -> Step<Option<Piece>>,
    ) -> Step<()> {
        let mut scanner = Scanner::starting(body, at);
        if scanner.peek() != Some(b'[') {
            return match text(&mut scanner)? {
                Some(text) => self.text(body, text),
                None => Ok(()),
            };
        }
        let mut first = true;
        scanner.array(|scanner| {
            let Some(piece) = next(scanner)? else {
                return Ok(());
            };
            if !std::mem::take(&mut first) {
                self.give(b"\n")?;
            }
            match piece {
                Piece::Text(text) => self.text(body, text),
                Piece::AsWritten(span) => self.give(&body[span]),
            }
        })
    }

    /// A string of the body, decoded.
    fn text(&mut self, body: &[u8], text: Text) -> Step<()> {
        let mut rest = &body[text.start..text.end];
        if !text.escaped {
            return self.give(rest);
        }
        while let Some(at) = memchr(b'\\', rest) {
            if at > 0 {
                self.give(&rest[..at])?;
            }
            let (char, size) = escape(&rest[at..]);
            self.give(char.encode_utf8(&mut [0; 4]).as_bytes())?;
            rest = &rest[at + size..];
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.give(rest)
    }
}

/// The character of the escape that `rest` begins with, and the bytes it takes. Half a surrogate pair is replaced.
fn escape(rest: &[u8]) -> (char, usize) {
    let char = match rest.get(1) {
        Some(b'u') => return unicode(rest),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(other) => char::from(*other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (char, rest.len().min(2))
}

fn unicode(rest: &[u8]) -> (char, usize) {
    /// Bytes of `\uXXXX`.
    const UNIT: usize = 6;
    let unit = |at: usize| {
        let digits = rest.get(at..at + UNIT)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let Some(first) = unit(0) else {
        return (char::REPLACEMENT_CHARACTER, rest.len());
    };
    if let Some(second) = unit(UNIT)
        && let Some(Ok(char)) = char::decode_utf16([first, second]).next()
        && char.len_utf16() == 2
    {
        return (char, 2 * UNIT);
    }
    let char = char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER);
    (char, UNIT)
}
