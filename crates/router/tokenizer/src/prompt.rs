//! What a request's body asks to be tokenized.

use minijinja::Value;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::fault::EncodeFault;

/// The prompt of one request.
#[derive(Debug, Clone)]
pub enum Prompt {
    /// A completion's texts.
    Texts {
        /// At least one.
        texts: Vec<String>,
        /// The tokenizer adds what it adds to any text, a token for the beginning for example.
        special: bool,
    },
    /// A completion's token lists, at least one.
    Ids(Vec<Vec<u32>>),
    /// Messages.
    Chat(Box<Chat>),
}

/// What a prompt's tokens depend on beside the tokenizer itself. An engine may differ in one of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing.
    Text,
    /// The template.
    Chat,
    /// The template, and how tools are written.
    Tools,
}

/// A chat as clients send it.
#[derive(Debug, Clone)]
pub struct Chat {
    pub(crate) messages: Vec<RawMessage>,
    pub(crate) tools: Option<Vec<RawTool>>,
    pub(crate) generation_prompt: bool,
    pub(crate) continue_final: bool,
    pub(crate) special: bool,
    /// Further variables of the template.
    pub(crate) variables: Vec<(String, Value)>,
}

#[derive(Debug, Deserialize)]
struct Body {
    prompt: Option<RawPrompt>,
    messages: Option<Vec<RawMessage>>,
    system: Option<RawContent>,
    input: Option<RawInput>,
    instructions: Option<String>,
    tools: Option<Vec<RawTool>>,
    add_generation_prompt: Option<bool>,
    continue_final_message: Option<bool>,
    add_special_tokens: Option<bool>,
    chat_template: Option<IgnoredAny>,
    chat_template_kwargs: Option<Value>,
    documents: Option<Value>,
    reasoning_effort: Option<Value>,
    truncate_prompt_tokens: Option<IgnoredAny>,
    prompt_embeds: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawPrompt {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    IdLists(Vec<Vec<u32>>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawInput {
    Text(String),
    Items(Vec<RawMessage>),
}

/// A message as clients send it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RawMessage {
    pub(crate) role: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    pub(crate) content: Option<RawContent>,
    pub(crate) tool_calls: Option<Vec<RawCall>>,
    pub(crate) tool_call_id: Option<Value>,
    pub(crate) name: Option<String>,
    pub(crate) reasoning: Option<String>,
    /// The older name of `reasoning`.
    reasoning_content: Option<String>,
    pub(crate) tools: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum RawContent {
    Text(String),
    Parts(Vec<RawPart>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum RawPart {
    Text(String),
    Object {
        #[serde(rename = "type")]
        kind: Option<String>,
        text: Option<String>,
        refusal: Option<String>,
    },
}

/// A call of a tool that an assistant made.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RawCall {
    pub(crate) id: Option<Value>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) function: RawFunctionCall,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RawFunctionCall {
    pub(crate) name: Option<Value>,
    pub(crate) arguments: Option<Value>,
}

/// A tool that the model may call.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RawTool {
    pub(crate) function: RawFunction,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RawFunction {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Option<Value>,
    pub(crate) strict: Option<bool>,
}

impl Prompt {
    /// Reads the body of a completion, a chat or a response: `prompt` goes before `messages`, these before `input`.
    pub fn read(body: &[u8]) -> Result<Self, EncodeFault> {
        let body: Body = serde_json::from_slice(body)
            .map_err(|error| EncodeFault::Malformed(error.to_string()))?;
        if body.truncate_prompt_tokens.is_some() {
            return Err(EncodeFault::Unsupported("truncation"));
        }
        if body.prompt_embeds.is_some() {
            return Err(EncodeFault::Unsupported("embeddings"));
        }
        match body.prompt {
            Some(prompt) => Self::completion(prompt, body.add_special_tokens.unwrap_or(true)),
            None => body.chat(),
        }
    }

    fn completion(prompt: RawPrompt, special: bool) -> Result<Self, EncodeFault> {
        let prompt = match prompt {
            RawPrompt::Text(text) => Self::Texts {
                texts: vec![text],
                special,
            },
            RawPrompt::Texts(texts) => Self::Texts { texts, special },
            RawPrompt::Ids(ids) => Self::Ids(vec![ids]),
            RawPrompt::IdLists(lists) => Self::Ids(lists),
        };
        let count = match &prompt {
            Self::Texts { texts, .. } => texts.len(),
            Self::Ids(lists) => lists.len(),
            Self::Chat(_) => 1,
        };
        if count == 0 {
            return Err(EncodeFault::Malformed("there is no prompt".to_owned()));
        }
        Ok(prompt)
    }

    /// What its tokens depend on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Texts { .. } | Self::Ids(_) => Kind::Text,
            Self::Chat(chat) if chat.tools.is_some() || chat.has_calls() => Kind::Tools,
            Self::Chat(_) => Kind::Chat,
        }
    }
}

impl Body {
    fn chat(self) -> Result<Prompt, EncodeFault> {
        if self.chat_template.is_some() {
            return Err(EncodeFault::Unsupported("a template of its own"));
        }
        let lead = self.system.map(|text| RawMessage::new("system", text));
        let (lead, messages) = match (self.messages, self.input) {
            (Some(messages), _) => (lead, messages),
            (None, Some(input)) => (
                self.instructions
                    .map(|text| RawMessage::new("developer", RawContent::Text(text))),
                input.messages()?,
            ),
            (None, None) => return Err(EncodeFault::Malformed("there is no prompt".to_owned())),
        };
        let variables = variables(
            self.chat_template_kwargs,
            self.documents,
            self.reasoning_effort,
        )?;
        let continue_final = self.continue_final_message.unwrap_or(false);
        Ok(Prompt::Chat(Box::new(Chat {
            messages: lead.into_iter().chain(messages).collect(),
            tools: self.tools.filter(|tools| !tools.is_empty()),
            generation_prompt: self.add_generation_prompt.unwrap_or(true),
            continue_final,
            special: self.add_special_tokens.unwrap_or(false),
            variables,
        })))
    }
}

/// What a request gives to the template by name. The effort of reasoning switches thinking, unless that was said.
fn variables(
    named: Option<Value>,
    documents: Option<Value>,
    effort: Option<Value>,
) -> Result<Vec<(String, Value)>, EncodeFault> {
    let mut variables = Vec::new();
    if let Some(named) = named {
        let keys = named
            .try_iter()
            .map_err(|error| EncodeFault::Malformed(error.to_string()))?;
        for key in keys {
            let value = named.get_item(&key).unwrap_or_default();
            variables.push((key.to_string(), value));
        }
    }
    if let Some(effort) = effort {
        if !variables.iter().any(|(name, _)| name == "enable_thinking") {
            let thinks = effort.as_str() != Some("none");
            variables.push(("enable_thinking".to_owned(), thinks.into()));
        }
        variables.push(("reasoning_effort".to_owned(), effort));
    }
    if let Some(documents) = documents {
        variables.push(("documents".to_owned(), documents));
    }
    Ok(variables)
}

impl RawInput {
    fn messages(self) -> Result<Vec<RawMessage>, EncodeFault> {
        match self {
            Self::Text(text) => Ok(vec![RawMessage::new("user", RawContent::Text(text))]),
            Self::Items(items) => {
                let is_message =
                    |item: &RawMessage| matches!(item.kind.as_deref(), None | Some("" | "message"));
                if items.iter().all(is_message) {
                    Ok(items)
                } else {
                    Err(EncodeFault::Unsupported("items that are no messages"))
                }
            }
        }
    }
}

impl RawMessage {
    fn new(role: &str, content: RawContent) -> Self {
        Self {
            role: role.to_owned(),
            kind: None,
            content: Some(content),
            tool_calls: None,
            tool_call_id: None,
            name: None,
            reasoning: None,
            reasoning_content: None,
            tools: None,
        }
    }

    /// What an assistant thought, under either name.
    pub(crate) fn thoughts(&self) -> Option<&str> {
        self.reasoning
            .as_deref()
            .or(self.reasoning_content.as_deref())
    }
}

impl Chat {
    fn has_calls(&self) -> bool {
        self.messages.iter().any(|message| {
            message
                .tool_calls
                .as_ref()
                .is_some_and(|calls| !calls.is_empty())
        })
    }
}

#[cfg(test)]
mod tests;
