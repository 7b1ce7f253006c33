//! JSON as Python writes it, which is what templates were made with: a space behind each comma and colon, members in
//! their order, nothing escaped for HTML.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// How nested values are laid out.
struct Style {
    /// What lines begin with per level; `None` = all on one line.
    indent: Option<String>,
    item: String,
    key: String,
    ascii: bool,
    sorted: bool,
}

/// The filter `tojson` with the arguments that Hugging Face gives it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "filters are given their arguments so"
)]
pub(crate) fn tojson(value: &Value, named: Kwargs) -> Result<Value, Error> {
    let indent = match named.get::<Option<Value>>("indent")? {
        None => None,
        Some(indent) => match (indent.as_str(), indent.as_usize()) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Some(spaces)) => Some(" ".repeat(spaces.min(16))),
            (None, None) => return Err(refused("indent is neither a number nor a text")),
        },
    };
    let (item, key) = match named.get::<Option<Vec<String>>>("separators")?.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(refused("separators are two texts")),
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
    };
    let style = Style {
        indent,
        item,
        key,
        ascii: named.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: named.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    named.assert_all_used()?;
    let mut out = String::new();
    style.write(&mut out, value, 0)?;
    Ok(Value::from(out))
}

fn refused(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

impl Style {
    fn write(&self, out: &mut String, value: &Value, level: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => number(out, value)?,
            ValueKind::String => self.text(out, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.nested(out, ('[', ']'), &items, level, |out, item| {
                    self.write(out, item, level + 1)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                self.nested(out, ('{', '}'), &keys, level, |out, key| {
                    match key.as_str() {
                        Some(text) => self.text(out, text),
                        None => self.text(out, &key.to_string()),
                    }
                    out.push_str(&self.key);
                    self.write(out, &value.get_item(key)?, level + 1)
                })?;
            }
            kind => {
                let problem = format!("a value of kind {kind} has no JSON");
                return Err(Error::new(ErrorKind::InvalidOperation, problem));
            }
        }
        Ok(())
    }

    fn nested(
        &self,
        out: &mut String,
        (open, close): (char, char),
        items: &[Value],
        level: usize,
        mut write: impl FnMut(&mut String, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push_str(&self.item);
            }
            self.line(out, level + 1);
            write(out, item)?;
        }
        if !items.is_empty() {
            self.line(out, level);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, out: &mut String, level: usize) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            for _ in 0..level {
                out.push_str(indent);
            }
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        out.push('"');
        for char in text.chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                ' '..='~' => out.push(char),
                char if char < ' ' || self.ascii => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        // Writing to a String cannot fail.
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                char => out.push(char),
            }
        }
        out.push('"');
    }
}

fn number(out: &mut String, value: &Value) -> Result<(), Error> {
    if value.is_integer() {
        // Writing to a String cannot fail.
        let _ = write!(out, "{value}");
        return Ok(());
    }
    out.push_str(&float(f64::try_from(value.clone())?));
    Ok(())
}

/// The shortest digits that give `value` again; an exponent from 1e16 on and below 1e-4.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use minijinja::{Environment, Value};
    use rstest::rstest;

    use super::{float, tojson};

    // What json.dumps of Python 3.11 prints.
    #[rstest]
    #[case::members_in_order(
        r#"{"b": 1, "a": [true, null, 1.0]}"#,
        "",
        r#"{"b": 1, "a": [true, null, 1.0]}"#
    )]
    #[case::nothing_for_html(r#""<a href='x'>&é\u0001""#, "", "\"<a href='x'>&é\\u0001\"")]
    #[case::ascii(r#""é😀""#, "ensure_ascii=true", r#""\u00e9\ud83d\ude00""#)]
    #[case::sorted(
        r#"{"b": 1, "a": {"d": 2, "c": 3}}"#,
        "sort_keys=true",
        r#"{"a": {"c": 3, "d": 2}, "b": 1}"#
    )]
    #[case::separators(r#"{"b": [1, 2]}"#, "separators=(',', ':')", r#"{"b":[1,2]}"#)]
    #[case::indented(
        r#"{"b": [1, {}], "a": []}"#,
        "indent=2",
        "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": []\n}"
    )]
    fn as_python(#[case] value: &str, #[case] args: &str, #[case] wanted: &str) {
        let value: Value = serde_json::from_str(value).unwrap();
        let mut env = Environment::new();
        env.add_filter("tojson", tojson);
        let template = format!("{{{{ v|tojson({args}) }}}}");
        let text = env.render_str(&template, minijinja::context! { v => value });
        assert_eq!(text.unwrap(), wanted);
    }

    #[rstest]
    #[case(1.0, "1.0")]
    #[case(0.1, "0.1")]
    #[case(1e15, "1000000000000000.0")]
    #[case(1e16, "1e+16")]
    #[case(0.0001, "0.0001")]
    #[case(0.00001, "1e-05")]
    #[case(-2.5e-7, "-2.5e-07")]
    #[case(1.5e300, "1.5e+300")]
    #[case(-0.0, "-0.0")]
    fn floats(#[case] value: f64, #[case] wanted: &str) {
        assert_eq!(float(value), wanted);
    }
}
