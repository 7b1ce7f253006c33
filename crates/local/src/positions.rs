//! Where in a YAML document each field stands.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser};

/// Lines of the fields of one document, by path: `spec.template.roles[0].name`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Positions {
    lines: HashMap<String, usize>,
}

/// A collection that is being read.
enum Open {
    /// A sequence at a path, and the index of its next item.
    Sequence(String, usize),
    /// A mapping at a path, and the key whose value comes next.
    Mapping(String, Option<String>),
}

impl Positions {
    /// Reads the first document of `text`; what cannot be read has no position.
    pub(crate) fn of(text: &str) -> Self {
        let mut positions = Self::default();
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            let line = span.start.line();
            match event {
                Event::Scalar(text, ..) => {
                    if let Some(Open::Mapping(path, key @ None)) = open.last_mut() {
                        let child = join(path, &text);
                        positions.lines.entry(child).or_insert(line);
                        *key = Some(text.into_owned());
                    } else if let Some(path) = value_path(&mut open) {
                        positions.lines.entry(path).or_insert(line);
                    }
                }
                Event::Alias(_) => {
                    value_path(&mut open);
                }
                Event::SequenceStart(..) => {
                    let path = value_path(&mut open).unwrap_or_default();
                    positions.lines.entry(path.clone()).or_insert(line);
                    open.push(Open::Sequence(path, 0));
                }
                Event::MappingStart(..) => {
                    let path = value_path(&mut open).unwrap_or_default();
                    positions.lines.entry(path.clone()).or_insert(line);
                    open.push(Open::Mapping(path, None));
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    open.pop();
                }
                Event::DocumentEnd => break,
                _ => {}
            }
        }
        positions
    }

    /// The line, from 1, of the field at `path`, or of the nearest field around it.
    pub(crate) fn line(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.lines.get("").copied().unwrap_or(1),
            }
        }
    }
}

/// Path of the value that comes next, which is then passed.
fn value_path(open: &mut [Open]) -> Option<String> {
    match open.last_mut()? {
        Open::Sequence(path, next) => {
            let item = format!("{path}[{next}]");
            *next += 1;
            Some(item)
        }
        Open::Mapping(path, key) => key.take().map(|key| join(path, &key)),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
