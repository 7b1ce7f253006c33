//! Text to token ids and back.
//!
//! A token is up to five letters or three digits with the space before them, or one other
//! character; English text comes to about four bytes a token, as with real vocabularies. The id
//! itself spells the token, so there is no table and decoding needs nothing but the id.

/// Opens a turn of a conversation.
pub const TURN_START: u32 = 256;
/// Closes a turn.
pub const TURN_END: u32 = 257;
/// Ends an answer.
pub const END_OF_TEXT: u32 = 258;

/// Ids below are single bytes.
const BYTES: u32 = 256;
/// Runs of digits start here: two spacings of each.
const DIGITS: u32 = 300;
/// Runs of one to three digits.
const DIGIT_RUNS: u32 = 10 + 100 + 1000;
/// Runs of letters start here: two spacings times two capitalisations of each.
const LETTERS: u32 = 3000;
/// Runs of one to five letters.
const LETTER_RUNS: u32 = 26 + 676 + 17_576 + 456_976 + 11_881_376;
/// Other characters start here.
const CHARACTERS: u32 = LETTERS + 4 * LETTER_RUNS;

const MAX_LETTERS: usize = 5;
const MAX_DIGITS: usize = 3;

/// One more than the largest id.
pub const VOCABULARY: u32 = CHARACTERS + 0x11_0000;

/// Appends the tokens of `text` to `out`.
pub fn encode_into(text: &str, out: &mut Vec<u32>) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match next_run(rest.as_bytes()) {
            Some(run) => run,
            None if first.is_ascii() => (u32::from(rest.as_bytes()[0]), 1),
            None => (CHARACTERS + u32::from(first), first.len_utf8()),
        };
        out.push(token);
        rest = &rest[length..];
    }
}

/// The tokens of `text`.
pub fn encode(text: &str) -> Vec<u32> {
    let mut out = Vec::with_capacity(text.len() / 4 + 1);
    encode_into(text, &mut out);
    out
}

/// A run of letters or digits at the start of `bytes`, with the space before it, as id and length.
fn next_run(bytes: &[u8]) -> Option<(u32, usize)> {
    let spaced = bytes[0] == b' ';
    let run = &bytes[usize::from(spaced)..];
    let first = *run.first()?;
    let (id, length) = if first.is_ascii_digit() {
        let length = run_length(run, MAX_DIGITS, u8::is_ascii_digit);
        (DIGITS + number(&run[..length], b'0', 10) * 2, length)
    } else if first.is_ascii_alphabetic() {
        // Only the first letter of a run may be a capital one.
        let length = 1 + run_length(&run[1..], MAX_LETTERS - 1, u8::is_ascii_lowercase);
        let capital = u32::from(first.is_ascii_uppercase());
        let mut letters = [b'a'; MAX_LETTERS];
        letters[..length].copy_from_slice(&run[..length]);
        letters[0] = first.to_ascii_lowercase();
        (
            LETTERS + number(&letters[..length], b'a', 26) * 4 + capital * 2,
            length,
        )
    } else {
        return None;
    };
    Some((id + u32::from(spaced), length + usize::from(spaced)))
}

fn run_length(bytes: &[u8], most: usize, belongs: impl Fn(&u8) -> bool) -> usize {
    let belonging = bytes.iter().take(most).take_while(|byte| belongs(byte));
    belonging.count()
}

/// Numbers all non-empty words over `base` digits: shorter words first, then in order.
fn number(word: &[u8], zero: u8, base: u32) -> u32 {
    let value = |value: u32, byte: &u8| value * base + u32::from(byte - zero) + 1;
    word.iter().fold(0, value) - 1
}

/// The word with this number.
fn push_word(mut number: u32, zero: u8, base: u32, capital: bool, out: &mut Vec<u8>) {
    let start = out.len();
    number += 1;
    while number > 0 {
        number -= 1;
        out.push(zero + (number % base) as u8);
        number /= base;
    }
    out[start..].reverse();
    if capital {
        out[start] = out[start].to_ascii_uppercase();
    }
}

/// Appends the bytes of one token. Ids that are no token, and the special ones, add nothing.
pub fn decode_into(token: u32, out: &mut Vec<u8>) {
    let spaced = |flag: u32, out: &mut Vec<u8>| {
        if flag == 1 {
            out.push(b' ');
        }
    };
    match token {
        0..BYTES => out.push(token as u8),
        DIGITS.. if token < DIGITS + 2 * DIGIT_RUNS => {
            let id = token - DIGITS;
            spaced(id % 2, out);
            push_word(id / 2, b'0', 10, false, out);
        }
        LETTERS..CHARACTERS => {
            let id = token - LETTERS;
            spaced(id % 2, out);
            push_word(id / 4, b'a', 26, id / 2 % 2 == 1, out);
        }
        CHARACTERS.. => {
            if let Some(character) = char::from_u32(token - CHARACTERS) {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        _ => {}
    }
}

/// The text of `tokens`. Bytes that are not UTF-8 become replacement characters; text that was
/// encoded here never has any.
pub fn decode(tokens: &[u32]) -> String {
    let mut bytes = Vec::with_capacity(tokens.len() * 4);
    for &token in tokens {
        decode_into(token, &mut bytes);
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// One turn of a conversation, to be rendered.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// Who speaks.
    pub role: &'a str,
    /// What is said.
    pub text: &'a str,
}

/// Appends a closed turn to `out`.
pub fn render_turn(turn: Turn<'_>, out: &mut Vec<u32>) {
    out.push(TURN_START);
    encode_into(turn.role, out);
    out.push(u32::from(b'\n'));
    encode_into(turn.text, out);
    out.push(TURN_END);
    out.push(u32::from(b'\n'));
}

/// Appends the opening of the answer to `out`.
pub fn render_answer_start(out: &mut Vec<u32>) {
    out.push(TURN_START);
    encode_into("assistant\n", out);
}
