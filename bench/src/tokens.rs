//! What it costs to make tokens of a prompt in this process: CPU time, without threads or sockets.
//!
//! The prompt is a chat of 16 KB of text. The model is a small one that lies in this repository, or the one in a folder
//! that is named: a larger vocabulary finds longer tokens, in about the same time per byte.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use jiff::civil::DateTime;
use kthena_router_tokenizer::{
    CHAT_TEMPLATE, NoMemory, Prompt, SegmentKey, SegmentMemory, TOKENIZER, TOKENIZER_CONFIG,
    Tokenizer, TokenizerFiles,
};

use crate::report::say;
use crate::scheduling::cpu_time;
use crate::table::{Bound, Figure};

/// Bytes of a prompt's text, half of them the system's.
const PROMPT: usize = 16 << 10;
/// Different prompts, each tokenized once per case.
const PROMPTS: usize = 40;
/// Words of prompts, in a random order.
const WORDS: &str = "the weather in Paris is sunny today, and it will be 21 degrees in the afternoon. What is the \
                     capital of France? Thank you! def main(): return None; numbers like 1000 or 2024 do not matter.";
/// The small model of this repository.
const OURS: (&[u8], &[u8], &str) = (
    include_bytes!("../../crates/router/tokenizer/tests/vectors/byte-level/tokenizer.json"),
    include_bytes!("../../crates/router/tokenizer/tests/vectors/byte-level/tokenizer_config.json"),
    include_str!("../../crates/router/tokenizer/tests/vectors/byte-level/chat_template.jinja"),
);

/// Remembers everything.
#[derive(Default)]
struct Memory(Mutex<HashMap<SegmentKey, Arc<[u32]>>>);

impl SegmentMemory for Memory {
    fn get(&self, key: SegmentKey) -> Option<Arc<[u32]>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).cloned()
    }

    fn put(&self, key: SegmentKey, tokens: &Arc<[u32]>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, Arc::clone(tokens));
    }
}

/// Prints a line for a prompt that is new, and for one whose first message was seen before.
pub(crate) fn run(folder: Option<&Path>) -> Result<()> {
    let tokenizer = load(folder)?;
    let mut rng = Rng::with_seed(1);
    let system = text(&mut rng);
    let bodies: Vec<Vec<u8>> = (0..PROMPTS)
        .map(|_| body(&system, &text(&mut rng)))
        .collect();
    let memory = Memory::default();
    measure(&tokenizer, &bodies[..1], &memory)?;
    let cases: [(&str, &dyn SegmentMemory); 2] = [
        ("tokens of a 16 KB chat", &NoMemory),
        ("the same, half of it seen before", &memory),
    ];
    for (name, memory) in cases {
        let (took, tokens) = measure(&tokenizer, &bodies[1..], memory)?;
        let figure = Figure {
            name,
            measured: took,
            unit: "µs",
            bound: Bound::None,
            note: format!("{tokens} tokens"),
        };
        say(&figure.to_string())?;
    }
    Ok(())
}

/// CPU microseconds and tokens of a prompt, in the mean.
fn measure(
    tokenizer: &Tokenizer,
    bodies: &[Vec<u8>],
    memory: &dyn SegmentMemory,
) -> Result<(f64, usize)> {
    let now = DateTime::constant(2026, 1, 1, 0, 0, 0, 0);
    let mut took = Duration::ZERO;
    let mut tokens = 0;
    for body in bodies {
        let begun = cpu_time();
        let prompt = Prompt::read(body)?;
        tokens += tokenizer.tokens(&prompt, now, memory)?.len();
        took += cpu_time().saturating_sub(begun);
    }
    let count = u32::try_from(bodies.len())?;
    let each = took.as_secs_f64() * 1e6 / f64::from(count);
    Ok((each, tokens / bodies.len()))
}

fn load(folder: Option<&Path>) -> Result<Tokenizer> {
    let files = match folder {
        Some(folder) => {
            let file = folder.join(TOKENIZER);
            TokenizerFiles {
                tokenizer: std::fs::read(&file).with_context(|| format!("{}", file.display()))?,
                config: std::fs::read(folder.join(TOKENIZER_CONFIG)).ok(),
                template: std::fs::read_to_string(folder.join(CHAT_TEMPLATE)).ok(),
                ..TokenizerFiles::default()
            }
        }
        None => TokenizerFiles {
            tokenizer: OURS.0.to_vec(),
            config: Some(OURS.1.to_vec()),
            template: Some(OURS.2.to_owned()),
            ..TokenizerFiles::default()
        },
    };
    Ok(Tokenizer::load(&files)?)
}

fn text(rng: &mut Rng) -> String {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut text = String::new();
    while text.len() < PROMPT / 2 {
        text.push_str(rng.choice(&words).copied().unwrap_or_default());
        text.push(' ');
    }
    text
}

fn body(system: &str, question: &str) -> Vec<u8> {
    let messages = [("system", system), ("user", question)]
        .map(|(role, content)| serde_json::json!({"role": role, "content": content}));
    serde_json::json!({"model": "m", "messages": messages})
        .to_string()
        .into_bytes()
}
