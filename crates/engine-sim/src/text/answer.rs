//! Plans an answer: the tokens that will come out, where the text ends and why.

use super::prose::{Dice, sentence};
use super::tokenizer::{END_OF_TEXT, decode_into, encode};
use crate::batch::FinishReason;

/// What decides an answer.
#[derive(Debug, Clone)]
pub struct AnswerRequest<'a> {
    /// The prompt; it seeds the answer.
    pub prompt: &'a [u32],
    /// Sets answers to the same prompt apart: the caller's seed and the number of the choice.
    pub seed: u64,
    /// Most tokens.
    pub max_tokens: u64,
    /// Fewest tokens before the answer may stop.
    pub min_tokens: u64,
    /// Never stop at the end of the text.
    pub ignore_end: bool,
    /// Texts that stop the answer; they are not part of it.
    pub stop: &'a [String],
    /// Answer with this text instead of prose.
    pub echo: Option<&'a str>,
}

/// A planned answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// All tokens, the end of text included.
    pub tokens: Vec<u32>,
    /// Bytes of text; less than the tokens spell when a stop text cut it.
    pub text_len: usize,
    /// How it ends.
    pub finish: FinishReason,
    /// The stop text that ended it.
    pub stop: Option<String>,
}

/// Plans the answer to `request`.
pub fn plan(request: &AnswerRequest<'_>) -> Answer {
    let limit = usize::try_from(request.max_tokens.max(1)).unwrap_or(usize::MAX);
    let least = usize::try_from(request.min_tokens).unwrap_or(usize::MAX);
    let wanted = if request.ignore_end {
        limit
    } else {
        least.min(limit)
    };
    let mut dice = Dice::new(seed_of(request.prompt) ^ request.seed.rotate_left(17));
    let mut tokens = encode(&text(request, &mut dice, wanted));
    let ends = tokens.len() < limit && !request.ignore_end && tokens.len() + 1 >= least;
    if ends {
        tokens.push(END_OF_TEXT);
    }
    tokens.truncate(limit);
    let finish = if ends {
        FinishReason::Stop
    } else {
        FinishReason::Length
    };
    cut(tokens, finish, request.stop, least)
}

/// The text of the answer: whole sentences that come to at least `wanted` tokens.
fn text(request: &AnswerRequest<'_>, dice: &mut Dice, wanted: usize) -> String {
    let mut text = request.echo.unwrap_or_default().to_owned();
    let sentences = if text.is_empty() {
        3 + dice.below(4)
    } else {
        0
    };
    for _ in 0..sentences {
        sentence(dice, text.is_empty(), &mut text);
    }
    // No token is longer than six bytes, so this many bytes are enough.
    while text.len() < wanted.saturating_mul(6).min(MAX_TEXT) {
        sentence(dice, text.is_empty(), &mut text);
    }
    text
}

/// Bounds the work for a caller who asks for an endless answer; no model has a longer context.
const MAX_TEXT: usize = 6 << 20;

fn cut(mut tokens: Vec<u32>, finish: FinishReason, stop: &[String], least: usize) -> Answer {
    let mut bytes = Vec::with_capacity(tokens.len() * 4);
    let mut checked = 0;
    for at in 0..tokens.len() {
        decode_into(tokens[at], &mut bytes);
        if at + 1 < least {
            checked = bytes.len();
            continue;
        }
        let found = stop
            .iter()
            .filter(|text| !text.is_empty())
            .filter_map(|text| Some((find(&bytes, text.as_bytes(), checked)?, text)))
            .min_by_key(|(position, _)| *position);
        if let Some((position, text)) = found {
            tokens.truncate(at + 1);
            return Answer {
                tokens,
                text_len: position,
                finish: FinishReason::Stop,
                stop: Some(text.clone()),
            };
        }
        checked = bytes.len();
    }
    Answer {
        tokens,
        text_len: bytes.len(),
        finish,
        stop: None,
    }
}

/// Position of `needle` in `text` where it ends after the first `checked` bytes.
fn find(text: &[u8], needle: &[u8], checked: usize) -> Option<usize> {
    let start = (checked + 1).saturating_sub(needle.len());
    let windows = text.get(start..)?.windows(needle.len());
    let mut found = windows.enumerate().filter(|(_, window)| *window == needle);
    found.next().map(|(at, _)| start + at)
}

/// Condenses a prompt to a number.
pub fn seed_of(prompt: &[u32]) -> u64 {
    prompt.iter().fold(0xcbf2_9ce4_8422_2325, |seed, &token| {
        (seed ^ u64::from(token))
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(5)
    })
}
