//! Messages as vLLM hands them to templates.
//!
//! Contents become one text, or lists of parts for templates that walk through parts; arguments of calls become
//! objects; a role that the template does not know is told by another.

use minijinja::Value;

use crate::fault::EncodeFault;
use crate::prompt::{RawCall, RawContent, RawMessage, RawPart, RawTool};

/// How a template takes contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// As one text.
    Text,
    /// As a list of parts.
    Parts,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) role: String,
    /// At least one, unless the message has no content.
    pub(crate) texts: Vec<String>,
    /// Whether the content is handed over as parts.
    pub(crate) contents: Contents,
    more: Vec<(&'static str, Value)>,
}

/// The messages of a chat. `source` is the template's text.
pub(crate) fn turns(
    messages: &[RawMessage],
    contents: Contents,
    source: &str,
) -> Result<Vec<Turn>, EncodeFault> {
    let turns: Result<Vec<Turn>, _> = messages
        .iter()
        .map(|message| Turn::of(message, contents))
        .collect();
    let turns = turns?;
    let knows_developers = source.contains("\"developer\"") || source.contains("'developer'");
    if knows_developers || !turns.iter().any(|turn| turn.role == "developer") {
        return Ok(turns);
    }
    Ok(without_developers(turns))
}

/// The tools of a chat, with the members vLLM gives them.
pub(crate) fn tools(tools: &[RawTool]) -> Value {
    let tool = |tool: &RawTool| {
        let function = &tool.function;
        let mut members = vec![
            ("name", Value::from(function.name.as_str())),
            ("description", function.description.clone().into()),
            (
                "parameters",
                function.parameters.clone().unwrap_or(().into()),
            ),
        ];
        if let Some(strict) = function.strict {
            members.push(("strict", strict.into()));
        }
        let function = Value::from_pairs(members);
        Value::from_pairs([("type", Value::from("function")), ("function", function)])
    };
    tools.iter().map(tool).collect()
}

impl Turn {
    fn of(message: &RawMessage, contents: Contents) -> Result<Self, EncodeFault> {
        let mut turn = Self {
            role: message.role.clone(),
            texts: texts(message.content.as_ref())?,
            // Results of tools are texts for all templates.
            contents: if message.role == "tool" {
                Contents::Text
            } else {
                contents
            },
            more: Vec::new(),
        };
        match message.role.as_str() {
            "assistant" => {
                let calls = message
                    .tool_calls
                    .as_deref()
                    .filter(|calls| !calls.is_empty());
                if let Some(calls) = calls {
                    let calls: Result<Vec<Value>, _> = calls.iter().map(call).collect();
                    turn.more.push(("tool_calls", calls?.into()));
                }
                if let Some(thoughts) = message.thoughts() {
                    turn.more.push(("reasoning", thoughts.into()));
                    turn.more.push(("reasoning_content", thoughts.into()));
                }
            }
            "tool" => {
                let id = message.tool_call_id.clone();
                turn.more.extend(id.map(|id| ("tool_call_id", id)));
            }
            "developer" => {
                let tools = message.tools.clone().unwrap_or(().into());
                turn.more.push(("tools", tools));
            }
            _ => {}
        }
        if let Some(name) = &message.name {
            turn.more.push(("name", name.as_str().into()));
        }
        Ok(turn)
    }

    /// What the template sees.
    pub(crate) fn value(&self) -> Value {
        let content = match self.contents {
            Contents::Text => Value::from(self.texts.join("\n")),
            Contents::Parts => self.texts.iter().map(|text| part(text)).collect(),
        };
        let members = [
            ("role", Value::from(self.role.as_str())),
            ("content", content),
        ];
        Value::from_pairs(members.into_iter().chain(self.more.iter().cloned()))
    }
}

fn part(text: &str) -> Value {
    Value::from_pairs([("type", "text"), ("text", text)])
}

/// The texts of a content, which must have nothing else.
fn texts(content: Option<&RawContent>) -> Result<Vec<String>, EncodeFault> {
    match content {
        None => Ok(Vec::new()),
        Some(RawContent::Text(text)) => Ok(vec![text.clone()]),
        Some(RawContent::Parts(parts)) => {
            let mut texts = Vec::new();
            for part in parts {
                texts.extend(text(part)?.map(str::to_owned));
            }
            Ok(texts)
        }
    }
}

fn text(part: &RawPart) -> Result<Option<&str>, EncodeFault> {
    match part {
        RawPart::Text(text) => Ok(Some(text)),
        RawPart::Object {
            kind,
            text,
            refusal,
        } => match kind.as_deref() {
            None if text.is_some() => Ok(text.as_deref()),
            Some("text" | "input_text" | "output_text") => Ok(text.as_deref()),
            Some("refusal") => Ok(refusal.as_deref()),
            _ => Err(EncodeFault::Unsupported("parts that are no text")),
        },
    }
}

/// A call with its arguments as an object, which they are not on the wire.
fn call(call: &RawCall) -> Result<Value, EncodeFault> {
    if !matches!(call.kind.as_deref(), None | Some("function")) {
        return Err(EncodeFault::Unsupported("calls of other kinds"));
    }
    let function = &call.function;
    let empty = || Value::from_pairs::<_, String, Value>([]);
    let parsed = match &function.arguments {
        Some(text) if text.as_str().is_some() => {
            serde_json::from_str(text.as_str().unwrap_or_default()).ok()
        }
        other => other.clone(),
    };
    let arguments = parsed.filter(|value: &Value| value.kind() == minijinja::value::ValueKind::Map);
    // The order is the engine's, whatever the client's was.
    let function = Value::from_pairs([
        ("arguments", arguments.unwrap_or_else(empty)),
        ("name", function.name.clone().unwrap_or_default()),
    ]);
    let id = call.id.clone().map(|id| ("id", id));
    let kind = call.kind.as_deref().map(|kind| ("type", kind.into()));
    let members = id.into_iter().chain([("function", function)]).chain(kind);
    Ok(Value::from_pairs(members))
}

/// Developers become the system, and systems that do not come first become one that does.
fn without_developers(mut turns: Vec<Turn>) -> Vec<Turn> {
    for turn in &mut turns {
        if turn.role == "developer" {
            "system".clone_into(&mut turn.role);
            turn.more.retain(|(name, _)| *name != "tools");
        }
    }
    let is_system = |turn: &Turn| turn.role == "system";
    if !turns.iter().skip(1).any(is_system) {
        return turns;
    }
    let (systems, others): (Vec<Turn>, Vec<Turn>) = turns.into_iter().partition(is_system);
    let texts = systems.iter().map(|turn| turn.texts.join("\n"));
    let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    let merged = Turn {
        role: "system".to_owned(),
        texts: vec![texts.join("\n\n")],
        contents: Contents::Text,
        more: Vec::new(),
    };
    std::iter::once(merged).chain(others).collect()
}
