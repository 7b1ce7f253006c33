//! Label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.

use std::collections::BTreeSet;

use kthena_schema::go;
use serde_json::Value;

use super::scan::{Token, tokens};
use crate::error::ApiError;
use crate::object::Object;
use crate::validate::names;

/// A conjunction of requirements on labels. The empty one takes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

impl LabelSelector {
    /// Parses the text of a request's `labelSelector`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        parse(text).map_err(ApiError::bad_request)
    }

    /// Reads a selector object (`matchLabels`, `matchExpressions`). A missing one takes nothing, so it is `None`.
    pub fn from_object(selector: &Value) -> Option<Self> {
        let mut requirements = Vec::new();
        for (key, value) in selector
            .get("matchLabels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let wanted = BTreeSet::from([value.as_str()?.to_owned()]);
            requirements.push(Requirement {
                key: key.clone(),
                test: Test::In(wanted),
            });
        }
        for expression in selector
            .get("matchExpressions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let key = expression.get("key")?.as_str()?.to_owned();
            let values = || {
                let items = expression.get("values").and_then(Value::as_array);
                items
                    .into_iter()
                    .flatten()
                    .filter_map(|item| Some(item.as_str()?.to_owned()))
                    .collect()
            };
            let test = match expression.get("operator")?.as_str()? {
                "In" => Test::In(values()),
                "NotIn" => Test::NotIn(values()),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                _ => return None,
            };
            requirements.push(Requirement { key, test });
        }
        Some(Self { requirements })
    }

    /// True if everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// True if `object` has the labels asked for.
    pub fn matches(&self, object: &Object) -> bool {
        self.matches_labels(|key| object.label(key))
    }

    /// True if the labels that `lookup` knows are as asked for.
    pub fn matches_labels<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.test.holds(lookup(&requirement.key)))
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            Self::NotIn(refused) => value.is_none_or(|value| !refused.contains(value)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Above(bound) => number(value).is_some_and(|number| number > *bound),
            Self::Below(bound) => number(value).is_some_and(|number| number < *bound),
        }
    }
}

fn number(value: Option<&str>) -> Option<i64> {
    value?.parse().ok()
}

/// What is left to read.
struct Cursor {
    tokens: Vec<Token>,
    at: usize,
}

impl Cursor {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }
}

fn parse(text: &str) -> Result<LabelSelector, String> {
    let mut cursor = Cursor {
        tokens: tokens(text)?,
        at: 0,
    };
    let mut requirements = Vec::new();
    loop {
        match cursor.peek() {
            Token::End => return Ok(LabelSelector { requirements }),
            token if starts_requirement(token) => {
                let parsed = requirement(&mut cursor)
                    .map_err(|fault| format!("unable to parse requirement: {fault}"))?;
                requirements.push(parsed);
            }
            other => {
                return Err(format!(
                    "found '{}', expected: !, identifier, or 'end of string'",
                    other.text()
                ));
            }
        }
        match cursor.next() {
            Token::End => return Ok(LabelSelector { requirements }),
            Token::Comma => {
                let follows = cursor.peek();
                if !starts_requirement(follows) {
                    return Err(format!(
                        "found '{}', expected: identifier after ','",
                        follows.text()
                    ));
                }
            }
            other => {
                return Err(format!(
                    "found '{}', expected: ',' or 'end of string'",
                    other.text()
                ));
            }
        }
    }
}

fn starts_requirement(token: &Token) -> bool {
    matches!(token, Token::Word(_)) || matches!(token, Token::Sign(sign) if sign == "!")
}

fn requirement(cursor: &mut Cursor) -> Result<Requirement, String> {
    let mut negated = false;
    if matches!(cursor.peek(), Token::Sign(sign) if sign == "!") {
        cursor.next();
        negated = true;
    }
    let key = match cursor.next() {
        Token::Word(word) => word,
        other => return Err(format!("found '{}', expected: identifier", other.text())),
    };
    check_key(&key)?;
    if negated {
        return Ok(Requirement {
            key,
            test: Test::Absent,
        });
    }
    if matches!(cursor.peek(), Token::End | Token::Comma) {
        return Ok(Requirement {
            key,
            test: Test::Exists,
        });
    }
    let operator = cursor.next();
    let test = match operator.text() {
        "in" => Test::In(values(cursor, &key)?),
        "notin" => Test::NotIn(values(cursor, &key)?),
        "=" | "==" => Test::In(BTreeSet::from([value(cursor, &key)?])),
        "!=" => Test::NotIn(BTreeSet::from([value(cursor, &key)?])),
        ">" => Test::Above(bound(cursor, &key)?),
        "<" => Test::Below(bound(cursor, &key)?),
        other => {
            return Err(format!(
                "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
            ));
        }
    };
    Ok(Requirement { key, test })
}

/// A parenthesised list; an empty place in it is the empty value.
fn values(cursor: &mut Cursor, key: &str) -> Result<BTreeSet<String>, String> {
    match cursor.next() {
        Token::Open => {}
        other => return Err(format!("found '{}' expected: '('", other.text())),
    }
    let mut values = BTreeSet::new();
    let mut pending = None;
    loop {
        match cursor.next() {
            Token::Word(word) if pending.is_none() => pending = Some(word),
            Token::Comma => {
                values.insert(pending.take().unwrap_or_default());
            }
            Token::Close => {
                values.insert(pending.take().unwrap_or_default());
                break;
            }
            other => {
                let expected = match (pending, values.is_empty()) {
                    (Some(_), _) => "',' or ')'",
                    (None, true) => "',', ')' or identifier",
                    (None, false) => "',', or identifier",
                };
                return Err(format!("found '{}', expected: {expected}", other.text()));
            }
        }
    }
    for value in &values {
        check_value(value, key)?;
    }
    Ok(values)
}

fn value(cursor: &mut Cursor, key: &str) -> Result<String, String> {
    match cursor.peek() {
        Token::End | Token::Comma => Ok(String::new()),
        Token::Word(word) => {
            let word = word.clone();
            cursor.next();
            check_value(&word, key)?;
            Ok(word)
        }
        other => Err(format!("found '{}', expected: identifier", other.text())),
    }
}

fn bound(cursor: &mut Cursor, key: &str) -> Result<i64, String> {
    let text = value(cursor, key)?;
    text.parse().map_err(|_| {
        format!(
            "values[0]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
            go::quote(&text)
        )
    })
}

fn check_key(key: &str) -> Result<(), String> {
    let faults = names::qualified_name(key);
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!(
        "<nil>: Invalid value: {}: {}",
        go::quote(key),
        faults.join("; ")
    ))
}

fn check_value(value: &str, key: &str) -> Result<(), String> {
    let faults = names::label_value(value);
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!(
        "values[0][{key}]: Invalid value: {}: {}",
        go::quote(value),
        faults.join("; ")
    ))
}
