//! How large the prompt is, and whether there is one.
//!
//! The size is what the prompt would have as `ChatML` text. It is counted while the body is walked; no text is built.

use crate::json::{JsonFault, Kind, Scanner, Text};

/// The prompt of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PromptFacts {
    /// Unicode scalar values of the prompt's text.
    pub chars: u64,
    /// Tokens that the client sent as numbers.
    pub token_ids: u64,
}

/// `<|im_start|>`, `<|im_end|>` and two line feeds.
const CHATML_FRAME: u64 = 24;

/// One of the places a prompt can stand in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Part {
    #[default]
    Absent,
    Unusable,
    Usable(PromptFacts),
}

/// All of them; which one counts is decided at the end of the body.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) prompt: Part,
    pub(crate) messages: Part,
    pub(crate) system: Option<u64>,
    pub(crate) input: Part,
    pub(crate) instructions: Option<u64>,
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
            token_ids: 0,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            chars: self.chars + other.chars,
            token_ids: self.token_ids + other.token_ids,
        }
    }
}

impl Parts {
    /// The prompt; `None` if there is none or what stands in its place cannot be read.
    pub(crate) fn resolve(&self) -> Option<PromptFacts> {
        let lead = |role: &str, chars: Option<u64>| {
            chars.map_or_else(PromptFacts::default, |chars| {
                PromptFacts::message(role.len() as u64, chars)
            })
        };
        match (self.prompt, self.messages, self.input) {
            (Part::Usable(prompt), ..) => Some(prompt),
            (Part::Absent, Part::Usable(messages), _) => {
                Some(lead("system", self.system).plus(messages))
            }
            (Part::Absent, Part::Absent, Part::Usable(input)) => {
                Some(lead("developer", self.instructions).plus(input))
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
    Ok(match scanner.value()?.0 {
        Kind::Text(text) => Part::Usable(PromptFacts {
            chars: text.chars,
            token_ids: 0,
        }),
        Kind::Null => Part::Absent,
        _ => Part::Unusable,
    })
}

fn prompt_list(scanner: &mut Scanner<'_>) -> Step<Part> {
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
        Part::Usable(facts)
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
    let mut facts = PromptFacts::default();
    scanner.array(|scanner| {
        let item = item(scanner)?;
        if let (Some(role), Some(content)) = (item.role, item.content) {
            facts = facts.plus(PromptFacts::message(role, content));
        }
        Ok(())
    })?;
    Ok(Part::Usable(facts))
}

/// The value of `input`.
pub(crate) fn input(scanner: &mut Scanner<'_>) -> Step<Part> {
    if scanner.peek() != Some(b'[') {
        return Ok(match scanner.value()?.0 {
            Kind::Text(text) => Part::Usable(PromptFacts::message("user".len() as u64, text.chars)),
            _ => Part::Unusable,
        });
    }
    let mut facts = PromptFacts::default();
    scanner.array(|scanner| {
        let item = item(scanner)?;
        if let (Some(role @ 1..), Some(content), true) = (item.role, item.content, item.is_message)
        {
            facts = facts.plus(PromptFacts::message(role, content));
        }
        Ok(())
    })?;
    Ok(Part::Usable(facts))
}

/// The value of `instructions`: characters of a text that is not empty.
pub(crate) fn instructions(scanner: &mut Scanner<'_>) -> Step<Option<u64>> {
    Ok(match scanner.value()?.0 {
        Kind::Text(Text {
            chars: chars @ 1.., ..
        }) => Some(chars),
        _ => None,
    })
}

/// Characters of a content: a text, or a list of parts of which at least one is text. `None` = unusable.
pub(crate) fn content(scanner: &mut Scanner<'_>) -> Step<Option<u64>> {
    if scanner.peek() != Some(b'[') {
        return Ok(match scanner.value()?.0 {
            Kind::Text(text) => Some(text.chars),
            _ => None,
        });
    }
    let mut total: Option<u64> = None;
    scanner.array(|scanner| {
        if let Some(chars) = part(scanner)? {
            // Parts are joined by a line feed.
            total = Some(total.map_or(chars, |before| before + 1 + chars));
        }
        Ok(())
    })?;
    Ok(total)
}

fn part(scanner: &mut Scanner<'_>) -> Step<Option<u64>> {
    if scanner.peek() != Some(b'{') {
        scanner.value()?;
        return Ok(None);
    }
    let mut chars = None;
    let mut textual = true;
    scanner.object(|scanner, name| {
        if scanner.is(name, "text") {
            chars = text_chars(scanner)?;
        } else if scanner.is(name, "type") {
            textual = is_any(scanner, &["", "text", "input_text", "output_text"])?;
        } else {
            scanner.value()?;
        }
        Ok(())
    })?;
    Ok(chars.filter(|_| textual))
}

struct Item {
    role: Option<u64>,
    content: Option<u64>,
    is_message: bool,
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
            item.role = text_chars(scanner)?;
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

fn text_chars(scanner: &mut Scanner<'_>) -> Step<Option<u64>> {
    Ok(match scanner.value()?.0 {
        Kind::Text(text) => Some(text.chars),
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
