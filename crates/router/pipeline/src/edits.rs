//! Changes to a request body, as replacements of byte ranges.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use crate::body::{BodyFacts, OptionsShape, StreamOptions};
use crate::path::ApiPath;

/// Replacements in order of position; they do not overlap.
#[derive(Debug, Default, Clone)]
pub struct Edits {
    list: SmallVec<[Edit; 2]>,
    hides_usage: bool,
}

#[derive(Debug, Clone)]
struct Edit {
    at: Range<usize>,
    with: Cow<'static, str>,
}

impl Edits {
    /// What must change before `facts`' body goes to an engine: the model name, and the wish for usage figures where
    /// the protocol has one.
    pub fn for_engine(facts: &BodyFacts, path: ApiPath, model: Option<&str>) -> Self {
        let mut edits = Self::default();
        if let Some(model) = model.filter(|model| **model != facts.model) {
            // A text always encodes.
            let literal = serde_json::to_string(model).unwrap_or_default();
            for span in &facts.spans.model {
                edits.push(span.clone(), literal.clone().into());
            }
        }
        if path.takes_usage_wish() {
            edits.wish_usage(facts);
        }
        edits.list.sort_by_key(|edit| edit.at.start);
        edits
    }

    /// Whether usage figures were asked for that the client did not ask for, so that they must not reach it.
    pub fn hides_usage(&self) -> bool {
        self.hides_usage
    }

    /// Length of the body after the changes.
    pub fn length(&self, body: &[u8]) -> usize {
        self.list.iter().fold(body.len(), |length, edit| {
            length - edit.at.len() + edit.with.len()
        })
    }

    /// The changed body in pieces.
    pub fn pieces<'b>(&'b self, body: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        let mut at = 0;
        let changed = self.list.iter().flat_map(move |edit| {
            let kept = &body[at..edit.at.start];
            at = edit.at.end;
            [kept, edit.with.as_bytes()]
        });
        let end = self.list.last().map_or(0, |edit| edit.at.end);
        changed
            .chain(std::iter::once(&body[end..]))
            .filter(|piece| !piece.is_empty())
    }

    fn push(&mut self, at: Range<usize>, with: Cow<'static, str>) {
        self.list.push(Edit { at, with });
    }

    fn wish_usage(&mut self, facts: &BodyFacts) {
        let inside = facts.spans.inside..facts.spans.inside;
        if !facts.stream {
            match &facts.spans.include_usage {
                Some(value) => self.push(value.clone(), "true".into()),
                None => self.push(inside, "\"include_usage\":true,".into()),
            }
            return;
        }
        match &facts.spans.stream_options {
            None => self.push(
                inside,
                "\"stream_options\":{\"include_usage\":true},".into(),
            ),
            Some(StreamOptions {
                value,
                shape: OptionsShape::Other,
            }) => {
                self.push(value.clone(), "{\"include_usage\":true}".into());
            }
            Some(StreamOptions {
                value,
                shape:
                    OptionsShape::Object {
                        empty,
                        include_usage,
                    },
            }) => match include_usage {
                Some((_, true)) => return,
                Some((span, false)) => self.push(span.clone(), "true".into()),
                None => {
                    let first = value.start + 1..value.start + 1;
                    let text = if *empty {
                        "\"include_usage\":true"
                    } else {
                        "\"include_usage\":true,"
                    };
                    self.push(first, text.into());
                }
            },
        }
        self.hides_usage = true;
    }
}

#[cfg(test)]
mod tests;
