//! What a model's folder says.

use minijinja::Value;
use minijinja::value::ValueKind;
use serde_json::value::RawValue;

use crate::fault::FileFault;

/// The tokenizer itself.
pub const TOKENIZER: &str = "tokenizer.json";
/// Names of special tokens, and often the template.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Names of special tokens, in folders of older releases.
pub const SPECIAL_TOKENS: &str = "special_tokens_map.json";
/// The template, which goes before the one in `tokenizer_config.json`.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// The files of a model that say how prompts become tokens, as Hugging Face lays them out.
#[derive(Debug, Clone, Default)]
pub struct TokenizerFiles {
    /// [`TOKENIZER`].
    pub tokenizer: Vec<u8>,
    /// [`TOKENIZER_CONFIG`], if there is one.
    pub config: Option<Vec<u8>>,
    /// [`SPECIAL_TOKENS`], if there is one.
    pub special_tokens: Option<Vec<u8>>,
    /// [`CHAT_TEMPLATE`], if there is one.
    pub template: Option<String>,
}

/// Names that templates know special tokens by.
const NAMED: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// A template and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) field: String,
    pub(crate) text: String,
}

/// Templates of a folder.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// For chats; `None` = there is none.
    pub(crate) plain: Option<Source>,
    /// For chats with tools, where it is another one.
    pub(crate) tools: Option<Source>,
}

/// A file of JSON that is an object, or nothing.
struct Object {
    file: &'static str,
    value: Value,
}

impl Object {
    fn read(file: &'static str, bytes: Option<&[u8]>) -> Result<Self, FileFault> {
        let value = match bytes {
            None => Value::from_pairs::<_, String, Value>([]),
            Some(bytes) => {
                // Read twice, so that a problem is told with its place in the file.
                serde_json::from_slice::<&RawValue>(bytes)
                    .and_then(|_| serde_json::from_slice(bytes))
                    .map_err(|error| FileFault::Json {
                        file,
                        problem: error.to_string(),
                    })?
            }
        };
        let object = Self { file, value };
        match object.value.kind() {
            ValueKind::Map => Ok(object),
            _ => Err(object.fault("the file", "an object")),
        }
    }

    fn get(&self, name: &str) -> Option<Value> {
        let value = self.value.get_attr(name).ok()?;
        (!value.is_undefined() && !value.is_none()).then_some(value)
    }

    fn fault(&self, field: &str, expected: &'static str) -> FileFault {
        FileFault::Field {
            file: self.file,
            field: field.to_owned(),
            expected,
        }
    }

    /// The text of a special token: a text, or an object whose `content` is one.
    fn token(&self, name: &str) -> Result<Option<String>, FileFault> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = match value.kind() {
            ValueKind::Map => value.get_attr("content").unwrap_or_default(),
            _ => value,
        };
        match text.as_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(self.fault(name, "a text, or an object with the text content")),
        }
    }

    /// The text `name` of an element of the list `chat_template`.
    fn of_list(&self, item: &Value, at: usize, name: &str) -> Result<String, FileFault> {
        let text = item.get_attr(name).unwrap_or_default();
        match text.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.fault(&format!("chat_template[{at}].{name}"), "a text")),
        }
    }
}

impl TokenizerFiles {
    /// Names and texts of the special tokens that templates may use.
    pub(crate) fn named_tokens(&self) -> Result<Vec<(String, String)>, FileFault> {
        let config = Object::read(TOKENIZER_CONFIG, self.config.as_deref())?;
        let older = Object::read(SPECIAL_TOKENS, self.special_tokens.as_deref())?;
        let mut named = Vec::new();
        for name in NAMED {
            let text = match config.token(name)? {
                Some(text) => Some(text),
                None => older.token(name)?,
            };
            named.extend(text.map(|text| (name.to_owned(), text)));
        }
        Ok(named)
    }

    /// The templates: those of the file for it, else those of the configuration.
    pub(crate) fn templates(&self) -> Result<Sources, FileFault> {
        if let Some(text) = &self.template {
            let plain = Source {
                field: CHAT_TEMPLATE.to_owned(),
                text: text.clone(),
            };
            return Ok(Sources {
                plain: Some(plain),
                tools: None,
            });
        }
        let config = Object::read(TOKENIZER_CONFIG, self.config.as_deref())?;
        let field = |at: &str| format!("{TOKENIZER_CONFIG}: chat_template{at}");
        let Some(value) = config.get("chat_template") else {
            return Ok(Sources::default());
        };
        match value.kind() {
            ValueKind::String => {
                let plain = Source {
                    field: field(""),
                    text: value.to_string(),
                };
                Ok(Sources {
                    plain: Some(plain),
                    tools: None,
                })
            }
            ValueKind::Seq => {
                let mut sources = Sources::default();
                for (at, item) in value.try_iter().into_iter().flatten().enumerate() {
                    let source = Source {
                        field: field(&format!("[{at}].template")),
                        text: config.of_list(&item, at, "template")?,
                    };
                    match config.of_list(&item, at, "name")?.as_str() {
                        "default" => sources.plain = Some(source),
                        "tool_use" => sources.tools = Some(source),
                        _ => {}
                    }
                }
                match sources.plain {
                    Some(_) => Ok(sources),
                    None => Err(FileFault::NoDefault),
                }
            }
            _ => Err(config.fault("chat_template", "a text, or a list of names and templates")),
        }
    }
}

#[cfg(test)]
mod tests;
