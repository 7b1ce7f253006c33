//! Chats as the model's template writes them.

use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};

use crate::conversation::{self, Contents, Turn};
use crate::fault::EncodeFault;
use crate::json::tojson;
use crate::prompt::Chat;

/// What stands in for the end of a message that is to be continued.
const END: &str = "KTHENA_END_OF_CONTINUED_MESSAGE";

/// Steps that one rendering may take. A chat of a thousand messages takes fewer than a tenth of them.
const FUEL: u64 = 5_000_000;

/// A template that was compiled.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    env: Environment<'static>,
    source: String,
    contents: Contents,
}

const NAME: &str = "chat template";

impl ChatTemplate {
    /// Compiles `source`. `tokens` are names and texts of special tokens.
    pub(crate) fn compile(source: &str, tokens: &[(String, String)]) -> Result<Self, String> {
        let mut env = environment().map_err(|error| error.to_string())?;
        for (name, text) in tokens {
            env.add_global(name.clone(), text.as_str());
        }
        env.add_template_owned(NAME, without_generation_tags(source))
            .map_err(|error| told(&error))?;
        let mut template = Self {
            env,
            source: source.to_owned(),
            contents: Contents::Text,
        };
        template.contents = template.probed();
        Ok(template)
    }

    /// The text of `chat` at the time `now`.
    pub(crate) fn render(&self, chat: &Chat, now: DateTime) -> Result<String, EncodeFault> {
        let mut turns = conversation::turns(&chat.messages, self.contents, &self.source)?;
        if turns.is_empty() {
            return Err(EncodeFault::Malformed("there are no messages".to_owned()));
        }
        if chat.continue_final {
            if chat.generation_prompt {
                // The default of one contradicts the other; who sets both is refused by the engine.
                return Err(EncodeFault::Unsupported(
                    "a message to be continued and a prompt for another",
                ));
            }
            return self.render_open(chat, &mut turns, now);
        }
        self.render_turns(chat, &turns, now)
    }

    /// Renders a chat whose last message is not at its end.
    fn render_open(
        &self,
        chat: &Chat,
        turns: &mut [Turn],
        now: DateTime,
    ) -> Result<String, EncodeFault> {
        let nothing = || EncodeFault::Template("there is no text to be continued".to_owned());
        let last = turns.last_mut().ok_or_else(nothing)?;
        if last.texts.is_empty() && last.contents == Contents::Text {
            last.texts.push(String::new());
        }
        let text = last.texts.last_mut().ok_or_else(nothing)?;
        text.push_str(END);
        // Templates that trim take the space behind the mark, not those before it.
        text.push(' ');
        let mut text = self.render_turns(chat, turns, now)?;
        let Some(at) = text.rfind(END) else {
            let problem = "it leaves out the message that is to be continued";
            return Err(EncodeFault::Template(problem.to_owned()));
        };
        let kept = text[at + END.len()..].starts_with(' ');
        text.truncate(at);
        if !kept {
            text.truncate(text.trim_end().len());
        }
        Ok(text)
    }

    fn render_turns(
        &self,
        chat: &Chat,
        turns: &[Turn],
        now: DateTime,
    ) -> Result<String, EncodeFault> {
        let tools = chat.tools.as_deref().map(conversation::tools);
        let fixed = [
            ("messages", turns.iter().map(Turn::value).collect()),
            ("tools", tools.unwrap_or(().into())),
            ("documents", ().into()),
            ("add_generation_prompt", chat.generation_prompt.into()),
            ("strftime_now", strftime(now)),
        ];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value));
        let context = fixed.into_iter().chain(chat.variables.iter().cloned());
        self.text(Value::from_pairs(context))
            .map_err(|error| EncodeFault::Template(told(&error)))
    }

    fn text(&self, context: Value) -> Result<String, Error> {
        self.env.get_template(NAME)?.render(context)
    }

    /// How the template takes contents: it is given one as parts.
    fn probed(&self) -> Contents {
        const WORD: &str = "kthenaprobe";
        let turn = |contents: Contents| {
            let content = match contents {
                Contents::Text => Value::from(WORD),
                Contents::Parts => {
                    let part = Value::from_pairs([("type", "text"), ("text", WORD)]);
                    std::iter::once(part).collect()
                }
            };
            let turn = Value::from_pairs([("role", Value::from("user")), ("content", content)]);
            let variables = Value::from_pairs([
                ("messages", std::iter::once(turn).collect()),
                ("tools", ().into()),
                ("documents", ().into()),
                ("add_generation_prompt", false.into()),
                (
                    "strftime_now",
                    strftime(DateTime::constant(2026, 1, 1, 0, 0, 0, 0)),
                ),
            ]);
            self.text(variables).ok()
        };
        // A template that does not walk through parts prints them as a list, or fails; one that walks through nothing
        // else finds no part in a text.
        match (turn(Contents::Text), turn(Contents::Parts)) {
            (text, Some(parts)) if text.as_ref() == Some(&parts) => Contents::Parts,
            (text, Some(parts))
                if parts.contains(WORD)
                    && !parts.contains("'text'")
                    && text.as_ref().is_none_or(|text| !text.contains(WORD)) =>
            {
                Contents::Parts
            }
            _ => Contents::Text,
        }
    }
}

/// An environment like the one of Hugging Face.
fn environment() -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    env.set_syntax(syntax);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_fuel(Some(FUEL));
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.add_filter("tojson", tojson);
    // Texts are sequences to Jinja.
    env.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            minijinja::value::ValueKind::Seq
                | minijinja::value::ValueKind::String
                | minijinja::value::ValueKind::Map
        )
    });
    env.add_function("raise_exception", |problem: String| {
        Err::<(), _>(Error::new(ErrorKind::InvalidOperation, problem))
    });
    Ok(env)
}

fn strftime(now: DateTime) -> Value {
    Value::from_function(move |format: &str| {
        jiff::fmt::strtime::format(format, now).map_err(|error| {
            let problem = format!("strftime_now: {error}");
            Error::new(ErrorKind::InvalidOperation, problem)
        })
    })
}

/// The tags that mark what a model generated, which is of use in training only, replaced by ones without effect.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open);
        text.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let word = tag.trim_matches(['{', '}', '%', '-', '+', ' ', '\n', '\t']);
        match word {
            "generation" => text.push_str(&tag.replace(word, "if true")),
            "endgeneration" => text.push_str(&tag.replace(word, "endif")),
            _ => text.push_str(tag),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// An error with what caused it, in one line.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
