//! A model's tokenizer and template together.

use std::sync::Arc;

use jiff::civil::DateTime;
use tokenizers::AddedToken;
use xxhash_rust::xxh64::xxh64;

use crate::fault::{EncodeFault, FileFault};
use crate::files::{Source, TokenizerFiles};
use crate::prompt::{Chat, Prompt};
use crate::segments::{Cuts, SegmentMemory};
use crate::template::ChatTemplate;

/// Makes tokens of prompts as one model's engine does.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Where texts may be cut; `None` = nowhere.
    cuts: Option<Cuts>,
    /// What is added to every text in front and behind; `None` = that depends on the text.
    added: Option<(Vec<u32>, Vec<u32>)>,
    template: Option<ChatTemplate>,
    /// For chats with tools, where it is another one.
    tool_template: Option<ChatTemplate>,
}

impl Tokenizer {
    /// Reads a model's files.
    pub fn load(files: &TokenizerFiles) -> Result<Self, FileFault> {
        let mut inner = tokenizers::Tokenizer::from_bytes(&files.tokenizer)
            .map_err(|error| tokenizer_fault(error.as_ref()))?;
        // Engines ask for neither, whatever the file was saved with.
        inner
            .with_truncation(None)
            .map_err(|error| tokenizer_fault(error.as_ref()))?;
        inner.with_padding(None);

        let named = files.named_tokens()?;
        let sources = files.templates()?;
        let compile = |source: Option<Source>| {
            source
                .map(|Source { field, text }| {
                    ChatTemplate::compile(&text, &named)
                        .map_err(|problem| FileFault::Template { field, problem })
                })
                .transpose()
        };
        let added: Vec<AddedToken> = inner.get_added_tokens_decoder().into_values().collect();
        let seed = xxh64(&files.tokenizer, 0);
        let mut tokenizer = Self {
            cuts: None,
            added: None,
            template: compile(sources.plain)?,
            tool_template: compile(sources.tools)?,
            inner,
        };
        tokenizer.added = tokenizer.added();
        tokenizer.cuts = Cuts::new(&added, seed).filter(|cuts| tokenizer.can_be_cut(&added, cuts));
        Ok(tokenizer)
    }

    /// Whether chats can be tokenized.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The tokens of `prompt` at the time `now`, of the engine's clock. A prompt that is several has those of the
    /// first.
    pub fn tokens(
        &self,
        prompt: &Prompt,
        now: DateTime,
        memory: &dyn SegmentMemory,
    ) -> Result<Vec<u32>, EncodeFault> {
        match prompt {
            Prompt::Ids(lists) => Ok(lists.first().cloned().unwrap_or_default()),
            Prompt::Texts { texts, special } => {
                let text = texts.first().map_or("", String::as_str);
                self.encode(text, *special, memory)
            }
            Prompt::Chat(chat) => {
                let text = self.text(chat, now)?;
                self.encode(&text, chat.special, memory)
            }
        }
    }

    /// The text of a chat, as the template writes it.
    fn text(&self, chat: &Chat, now: DateTime) -> Result<String, EncodeFault> {
        let for_tools = self.tool_template.as_ref().filter(|_| chat.tools.is_some());
        let template = for_tools.or(self.template.as_ref());
        template.ok_or(EncodeFault::NoTemplate)?.render(chat, now)
    }

    fn encode(
        &self,
        text: &str,
        special: bool,
        memory: &dyn SegmentMemory,
    ) -> Result<Vec<u32>, EncodeFault> {
        let (Some(cuts), Some((front, back))) = (&self.cuts, &self.added) else {
            return self.whole(text, special);
        };
        let mut tokens = Vec::with_capacity(text.len() / 3);
        if special {
            tokens.extend_from_slice(front);
        }
        // Pieces that are not looked up are tokenized together.
        let mut from = 0;
        let mut to = 0;
        for piece in cuts.pieces(text) {
            let begin = to;
            to += piece.len();
            let Some(key) = cuts.key(piece) else {
                continue;
            };
            if from < begin {
                tokens.extend(self.whole(&text[from..begin], false)?);
            }
            from = to;
            if let Some(known) = memory.get(key) {
                tokens.extend_from_slice(&known);
                continue;
            }
            let found: Arc<[u32]> = self.whole(piece, false)?.into();
            memory.put(key, &found);
            tokens.extend_from_slice(&found);
        }
        if from < to {
            tokens.extend(self.whole(&text[from..to], false)?);
        }
        if special {
            tokens.extend_from_slice(back);
        }
        Ok(tokens)
    }

    fn whole(&self, text: &str, special: bool) -> Result<Vec<u32>, EncodeFault> {
        let encoding = self
            .inner
            .encode_fast(text, special)
            .map_err(|error| EncodeFault::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// What the tokenizer adds to texts, if it adds the same to all.
    fn added(&self) -> Option<(Vec<u32>, Vec<u32>)> {
        const TEXTS: [&str; 4] = ["a", "", " b c ", "1\n"];
        let around = |text: &str| {
            let bare = self.whole(text, false).ok()?;
            let full = self.whole(text, true).ok()?;
            let front = (0..=full.len().checked_sub(bare.len())?)
                .find(|&front| full[front..].starts_with(&bare))?;
            Some((full[..front].to_vec(), full[front + bare.len()..].to_vec()))
        };
        let added = around(TEXTS[0])?;
        let all_the_same = TEXTS.iter().all(|text| {
            let (bare, full) = (self.whole(text, false), self.whole(text, true));
            let whole = bare.map(|bare| [&added.0[..], &bare, &added.1].concat());
            whole == full
        });
        all_the_same.then_some(added)
    }

    /// Whether pieces have the same tokens apart as together, tried on what tokenizers stumble over.
    fn can_be_cut(&self, added: &[AddedToken], cuts: &Cuts) -> bool {
        const TEXTS: [&str; 5] = ["Hello world", " a  b ", "\n\n", "1234,5", "é\u{301}漢字😀"];
        let same = |text: &str| {
            let mut apart = Vec::new();
            for piece in cuts.pieces(text) {
                match self.whole(piece, false) {
                    Ok(tokens) => apart.extend(tokens),
                    Err(_) => return false,
                }
            }
            self.whole(text, false) == Ok(apart)
        };
        added
            .iter()
            .filter(|token| token.special)
            .take(16)
            .all(|token| {
                TEXTS
                    .iter()
                    .zip(TEXTS.iter().cycle().skip(1))
                    .all(|(one, other)| {
                        let mark = &token.content;
                        same(&format!("{one}{mark}{other}{mark}{mark}{one}"))
                    })
            })
    }
}

fn tokenizer_fault(error: &(dyn std::error::Error + Send + Sync)) -> FileFault {
    FileFault::Tokenizer {
        problem: error.to_string(),
    }
}
