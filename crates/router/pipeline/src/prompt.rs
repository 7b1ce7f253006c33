//! How large the prompt is, whether there is one, and where it stands.
//!
//! The size is what the prompt would have as `ChatML` text. It is counted while the body is walked; no text is built.
//! [`PromptReader`] gives the text out later, piece by piece, from where it stands in the body.

mod reader;

pub use reader::{Message, PromptReader};

use crate::json::{JsonFault, Kind, Scanner, Text};

/// The prompt of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PromptFacts {
    /// Unicode scalar values of the prompt's text.
    pub chars: u64,
    /// Tokens that the client sent as numbers.
    pub token_ids: u64,
    source: Source,
}

/// Where the prompt stands in the body: positions of values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Nowhere,
    Prompt(usize),
    Messages {
        system: Option<usize>,
        list: usize,
    },
    Input {
        instructions: Option<usize>,
        value: usize,
    },
}

/// `<|im_start|>`, `<|im_end|>` and two line feeds.
const CHATML_FRAME: u64 = 24;

/// The role of an `input` that is one text.
const USER: &str = "user";

/// One of the places a prompt can stand in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Part {
    #[default]
    Absent,
    Unusable,
    Usable {
        facts: PromptFacts,
        /// Where the value begins.
        at: usize,
    },
}

/// All of them; which one counts is decided at the end of the body.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) prompt: Part,
    pub(crate) messages: Part,
    pub(crate) system: Option<Lead>,
    pub(crate) input: Part,
    pub(crate) instructions: Option<Lead>,
}

/// A text that goes before the messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lead {
    chars: u64,
    at: usize,
}

type Step<T> = Result<T, JsonFault>;

impl PromptFacts {
    /// Tokens, estimated at four characters each.
    pub fn tokens(self) -> u64 {
        self.chars.div_ceil(4) + self.token_ids
    }

    fn message(role: u64, content: u64) -> Self {
        Self {
            chars: CHATML_FRAME + role + content,
            ..Self::default()
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            chars: self.chars + other.chars,
            token_ids: self.token_ids + other.token_ids,
            source: self.source,
        }
    }

    fn standing(self, source: Source) -> Self {
        Self { source, ..self }
    }
}

impl Parts {
    /// The prompt; `None` if there is none or what stands in its place cannot be read.
    pub(crate) fn resolve(&self) -> Option<PromptFacts> {
        let lead = |role: &str, lead: Option<Lead>| {
            lead.map_or_else(PromptFacts::default, |lead| {
                PromptFacts::message(role.len() as u64, lead.chars)
            })
        };
        let position = |lead: Option<Lead>| lead.map(|lead| lead.at);
        match (self.prompt, self.messages, self.input) {
            (Part::Usable { facts, at }, ..) => Some(facts.standing(Source::Prompt(at))),
            (Part::Absent, Part::Usable { facts, at }, _) => {
                let source = Source::Messages {
                    system: position(self.system),
                    list: at,
                };
                Some(lead("system", self.system).plus(facts).standing(source))
            }
            (Part::Absent, Part::Absent, Part::Usable { facts, at }) => {
                let source = Source::Input {
                    instructions: position(self.instructions),
                    value: at,
                };
                let before = lead("developer", self.instructions);
                Some(before.plus(facts).standing(source))
            }
            _ => None,
        }
    }
}

/// The value of `prompt`: a text, texts, or token ids in one or two levels; `null` is absent.
pub(crate) fn prompt(scanner: &mut Scanner<'_>) -> Step<Part> {
    if scanner.peek() == Some(b'[') {
        return prompt_list(scanner);
    }
    let at = scanner.position();
    Ok(match scanner.value()?.0 {
        Kind::Text(text) => Part::Usable {
            facts: PromptFacts {
                chars: text.chars,
                ..PromptFacts::default()
            },
            at,
        },
        Kind::Null => Part::Absent,
        _ => Part::Unusable,
    })
}

fn prompt_list(scanner: &mut Scanner<'_>) -> Step<Part> {
    let at = scanner.position();
    let mut facts = PromptFacts::default();
    let mut texts = 0_u64;
    let mut usable = true;
    scanner.array(|scanner| {
        if scanner.peek() == Some(b'[') {
            return scanner.array(|scanner| {
                usable &= matches!(scanner.value()?.0, Kind::Number { integer: true });
                facts.token_ids += 1;
                Ok(())
            });
        }
        match scanner.value()?.0 {
            Kind::Text(text) => {
                facts.chars += text.chars;
                texts += 1;
            }
            Kind::Number { integer: true } => facts.token_ids += 1,
            _ => usable = false,
        }
        Ok(())
    })?;
    facts.chars += texts.saturating_sub(1);
    Ok(if usable {
        Part::Usable { facts, at }
    } else {
        Part::Unusable
    })
}

/// The value of `messages`.
pub(crate) fn messages(scanner: &mut Scanner<'_>) -> Step<Part> {
    if scanner.peek() != Some(b'[') {
        scanner.value()?;
        return Ok(Part::Unusable);
    }
    let at = scanner.position();
    let mut facts = PromptFacts::default();
    scanner.array(|scanner| {
        let item = item(scanner)?;
        if let (Some(role), Some(content)) = (item.role, item.content) {
            facts = facts.plus(PromptFacts::message(role.chars, content.chars));
        }
        Ok(())
    })?;
    Ok(Part::Usable { facts, at })
}

/// The value of `input`.
pub(crate) fn input(scanner: &mut Scanner<'_>) -> Step<Part> {
    let is_list = scanner.peek() == Some(b'[');
    let at = scanner.position();
    if !is_list {
        return Ok(match scanner.value()?.0 {
            Kind::Text(text) => Part::Usable {
                facts: PromptFacts::message(USER.len() as u64, text.chars),
                at,
            },
            _ => Part::Unusable,
        });
    }
    let mut facts = PromptFacts::default();
    scanner.array(|scanner| {
        if let Some((role, content)) = item(scanner)?.of_input() {
            facts = facts.plus(PromptFacts::message(role.chars, content.chars));
        }
        Ok(())
    })?;
    Ok(Part::Usable { facts, at })
}

/// The value of `instructions`: a text that is not empty.
pub(crate) fn instructions(scanner: &mut Scanner<'_>) -> Step<Option<Lead>> {
    Ok(text(scanner)?
        .filter(|text| text.chars > 0)
        .map(|text| Lead {
            chars: text.chars,
            at: text.start - 1,
        }))
}

/// A content: a text, or a list of parts of which at least one is text. `None` = unusable.
pub(crate) fn content(scanner: &mut Scanner<'_>) -> Step<Option<Lead>> {
    let is_list = scanner.peek() == Some(b'[');
    let at = scanner.position();
    let mut total: Option<u64> = None;
    if !is_list {
        total = text(scanner)?.map(|text| text.chars);
        return Ok(total.map(|chars| Lead { chars, at }));
    }
    scanner.array(|scanner| {
        if let Some(Text { chars, .. }) = part(scanner)? {
            // Parts are joined by a line feed.
            total = Some(total.map_or(chars, |before| before + 1 + chars));
        }
        Ok(())
    })?;
    Ok(total.map(|chars| Lead { chars, at }))
}

fn part(scanner: &mut Scanner<'_>) -> Step<Option<Text>> {
    if scanner.peek() != Some(b'{') {
        scanner.value()?;
        return Ok(None);
    }
    let mut found = None;
    let mut textual = true;
    scanner.object(|scanner, name| {
        if scanner.is(name, "text") {
            found = text(scanner)?;
        } else if scanner.is(name, "type") {
            textual = is_any(scanner, &["", "text", "input_text", "output_text"])?;
        } else {
            scanner.value()?;
        }
        Ok(())
    })?;
    Ok(found.filter(|_| textual))
}

struct Item {
    role: Option<Text>,
    content: Option<Lead>,
    is_message: bool,
}

impl Item {
    /// Role and content of an element of `input` that is a message.
    fn of_input(&self) -> Option<(Text, Lead)> {
        let role = self.role.filter(|role| self.is_message && role.chars > 0)?;
        Some((role, self.content?))
    }
}

/// An element of `messages` or `input`. Anything but an object is an item without role.
fn item(scanner: &mut Scanner<'_>) -> Step<Item> {
    let mut item = Item {
        role: None,
        content: None,
        is_message: true,
    };
    if scanner.peek() != Some(b'{') {
        scanner.value()?;
        return Ok(item);
    }
    scanner.object(|scanner, name| {
        if scanner.is(name, "role") {
            item.role = text(scanner)?;
        } else if scanner.is(name, "content") {
            item.content = content(scanner)?;
        } else if scanner.is(name, "type") {
            item.is_message = is_any(scanner, &["", "message"])?;
        } else {
            scanner.value()?;
        }
        Ok(())
    })?;
    Ok(item)
}

fn text(scanner: &mut Scanner<'_>) -> Step<Option<Text>> {
    Ok(match scanner.value()?.0 {
        Kind::Text(text) => Some(text),
        _ => None,
    })
}

/// Whether a text is one of `wanted`. A value of another kind counts as the empty text.
fn is_any(scanner: &mut Scanner<'_>, wanted: &[&str]) -> Step<bool> {
    Ok(match scanner.value()?.0 {
        Kind::Text(text) => wanted.iter().any(|word| scanner.is(text, word)),
        _ => wanted.contains(&""),
    })
}

#[cfg(test)]
mod tests;
