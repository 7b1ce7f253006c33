//! The paths of a CRD's printer columns: members, indexes, slices, wildcards, recursion and filters.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Member(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    /// Members of that name at any depth.
    Deep(String),
    Filter(Filter),
}

/// `?(@.path op literal)`, or `?(@.path)` for being there.
#[derive(Debug, Clone, PartialEq)]
struct Filter {
    path: JsonPath,
    test: Option<(Comparison, Value)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Parses a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
            .unwrap_or(text);
        let mut symbols = text.trim_start_matches('$').chars().peekable();
        let path = Self::parse_steps(&mut symbols)?;
        symbols.next().is_none().then_some(path)
    }

    fn parse_steps(symbols: &mut Peekable<Chars<'_>>) -> Option<Self> {
        let mut steps = Vec::new();
        while let Some(symbol) = symbols.peek() {
            match symbol {
                '.' => {
                    symbols.next();
                    if symbols.next_if_eq(&'.').is_some() {
                        steps.push(Step::Deep(word(symbols)?));
                    } else if symbols.peek() != Some(&'[') {
                        let word = word(symbols)?;
                        steps.push(if word == "*" {
                            Step::All
                        } else {
                            Step::Member(word)
                        });
                    }
                }
                '[' => {
                    symbols.next();
                    steps.push(bracket(symbols)?);
                }
                _ if steps.is_empty() && is_word(*symbol) => {
                    steps.push(Step::Member(word(symbols)?));
                }
                _ => break,
            }
        }
        Some(Self { steps })
    }

    /// The first value the path leads to.
    pub(super) fn first(&self, value: &Value) -> Option<Value> {
        self.find(value).into_iter().next().cloned()
    }

    /// All values the path leads to.
    pub(super) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.steps {
            found = found
                .into_iter()
                .flat_map(|value| step.follow(value))
                .collect();
        }
        found
    }
}

impl Step {
    fn follow<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Member(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                place(*index, items.len())
                    .and_then(|at| items.get(at))
                    .into_iter()
                    .collect()
            }
            Self::Slice(from, to) => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let bound = |index: Option<i64>, missing: usize| {
                    index
                        .map_or(missing, |index| place(index, items.len()).unwrap_or(0))
                        .min(items.len())
                };
                let (from, to) = (bound(*from, 0), bound(*to, items.len()));
                items.get(from..to).unwrap_or_default().iter().collect()
            }
            Self::All => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(members) => members.values().collect(),
                _ => Vec::new(),
            },
            Self::Deep(name) => {
                let mut found = Vec::new();
                dive(value, name, &mut found);
                found
            }
            Self::Filter(filter) => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                items.iter().filter(|item| filter.holds(item)).collect()
            }
        }
    }
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let found = self.path.find(item);
        let Some((comparison, wanted)) = &self.test else {
            return !found.is_empty();
        };
        found
            .first()
            .is_some_and(|value| comparison.holds(value, wanted))
    }
}

impl Comparison {
    fn holds(self, value: &Value, wanted: &Value) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (value, wanted) {
            (Value::Number(left), Value::Number(right)) => left
                .as_f64()
                .zip(right.as_f64())
                .and_then(|(left, right)| left.partial_cmp(&right)),
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (left, right) => (left == right).then_some(Equal),
        };
        match self {
            Self::Equal => order == Some(Equal),
            Self::Unequal => order != Some(Equal),
            Self::Less => order == Some(Less),
            Self::LessOrEqual => matches!(order, Some(Less | Equal)),
            Self::Greater => order == Some(Greater),
            Self::GreaterOrEqual => matches!(order, Some(Greater | Equal)),
        }
    }
}

/// A place in a list of `length`; negative ones count from the end.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

fn dive<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            for (member, below) in members {
                if member == name {
                    found.push(below);
                }
                dive(below, name, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| dive(item, name, found)),
        _ => {}
    }
}

fn is_word(symbol: char) -> bool {
    !matches!(
        symbol,
        '.' | '[' | ']' | '(' | ')' | '=' | '!' | '<' | '>' | ' ' | '\'' | '"'
    )
}

/// A member name; a backslash takes the next symbol as it is.
fn word(symbols: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut word = String::new();
    while let Some(symbol) = symbols.next_if(|symbol| is_word(*symbol)) {
        if symbol == '\\' {
            word.push(symbols.next()?);
        } else {
            word.push(symbol);
        }
    }
    (!word.is_empty()).then_some(word)
}

/// What stands between `[` and `]`.
fn bracket(symbols: &mut Peekable<Chars<'_>>) -> Option<Step> {
    let step = match symbols.peek()? {
        '\'' | '"' => Step::Member(quoted(symbols)?),
        '*' => {
            symbols.next();
            Step::All
        }
        '?' => {
            symbols.next();
            Step::Filter(filter(symbols)?)
        }
        _ => {
            let from = number(symbols);
            if symbols.next_if_eq(&':').is_some() {
                Step::Slice(from, number(symbols))
            } else {
                Step::Index(from?)
            }
        }
    };
    (symbols.next()? == ']').then_some(step)
}

fn number(symbols: &mut Peekable<Chars<'_>>) -> Option<i64> {
    let mut digits = String::new();
    while let Some(symbol) = symbols.next_if(|symbol| symbol.is_ascii_digit() || *symbol == '-') {
        digits.push(symbol);
    }
    digits.parse().ok()
}

fn quoted(symbols: &mut Peekable<Chars<'_>>) -> Option<String> {
    let quote = symbols.next()?;
    let mut text = String::new();
    loop {
        match symbols.next()? {
            symbol if symbol == quote => return Some(text),
            '\\' => text.push(symbols.next()?),
            symbol => text.push(symbol),
        }
    }
}

/// `(@.path op literal)`.
fn filter(symbols: &mut Peekable<Chars<'_>>) -> Option<Filter> {
    let skip_spaces =
        |symbols: &mut Peekable<Chars<'_>>| while symbols.next_if_eq(&' ').is_some() {};
    if symbols.next()? != '(' {
        return None;
    }
    skip_spaces(symbols);
    if symbols.next()? != '@' {
        return None;
    }
    let path = JsonPath::parse_steps(symbols)?;
    skip_spaces(symbols);
    if symbols.next_if_eq(&')').is_some() {
        return Some(Filter { path, test: None });
    }
    let mut sign = String::new();
    while let Some(symbol) = symbols.next_if(|symbol| matches!(symbol, '=' | '!' | '<' | '>')) {
        sign.push(symbol);
    }
    let comparison = match sign.as_str() {
        "==" => Comparison::Equal,
        "!=" => Comparison::Unequal,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    };
    skip_spaces(symbols);
    let wanted = match symbols.peek()? {
        '\'' | '"' => Value::String(quoted(symbols)?),
        _ => {
            let mut text = String::new();
            while let Some(symbol) = symbols.next_if(|symbol| !matches!(symbol, ')' | ' ')) {
                text.push(symbol);
            }
            serde_json::from_str(&text).ok()?
        }
    };
    skip_spaces(symbols);
    (symbols.next()? == ')').then_some(Filter {
        path,
        test: Some((comparison, wanted)),
    })
}
