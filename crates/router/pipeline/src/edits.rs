//! Changes to a request body, as replacements of byte ranges.

use std::borrow::Cow;
use std::ops::Range;

use kthena_router_connectors::{Changes, Member, Rule};
use smallvec::SmallVec;

use crate::body::{BodyFacts, MemberSpan, OptionsShape, StreamOptions};
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
        edits.rename(facts, model);
        if path.takes_usage_wish() {
            edits.wish_usage(facts);
        }
        edits.sorted()
    }

    /// What must change before `facts`' body, which is `body`, goes to a prefill engine.
    pub fn for_prefill(
        facts: &BodyFacts,
        body: &[u8],
        model: Option<&str>,
        changes: Changes,
    ) -> Self {
        let mut edits = Self::default();
        edits.rename(facts, model);
        edits.change(facts, body, changes);
        edits.sorted()
    }

    /// What must change before `facts`' body, which is `body`, goes to a decode engine.
    pub fn for_decode(
        facts: &BodyFacts,
        body: &[u8],
        path: ApiPath,
        model: Option<&str>,
        changes: Changes,
    ) -> Self {
        let mut edits = Self::for_engine(facts, path, model);
        edits.change(facts, body, changes);
        edits.sorted()
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

    /// An insertion goes before a replacement that begins where it stands.
    fn sorted(mut self) -> Self {
        self.list.sort_by_key(|edit| (edit.at.start, edit.at.end));
        self
    }

    fn rename(&mut self, facts: &BodyFacts, model: Option<&str>) {
        let Some(model) = model.filter(|model| **model != facts.model) else {
            return;
        };
        // A text always encodes.
        let literal = serde_json::to_string(model).unwrap_or_default();
        for span in &facts.spans.model {
            self.push(span.clone(), literal.clone().into());
        }
    }

    fn change(&mut self, facts: &BodyFacts, body: &[u8], changes: Changes) {
        let all = &facts.spans.members;
        let mut removed: SmallVec<[Member; 2]> = SmallVec::new();
        for change in changes {
            let spans = all.iter().filter(|span| span.member == change.member);
            let last = spans.clone().next_back();
            let value = match (change.rule, last) {
                (Rule::Remove, _) => {
                    removed.push(change.member);
                    continue;
                }
                (Rule::Set(value), None) => {
                    let inside = facts.spans.inside..facts.spans.inside;
                    // A comma may follow: a body has a model, which nothing removes.
                    let member = format!("\"{}\":{value},", change.member.name());
                    self.push(inside, member.into());
                    continue;
                }
                (Rule::Set(value), Some(_)) => value,
                (Rule::Replace(value), Some(_)) => value.into(),
                (Rule::ReplaceValue(value), Some(last)) if !last.is_null => value.into(),
                (Rule::AtMostOne, Some(last)) if exceeds_one(&body[last.value.clone()]) => {
                    "1".into()
                }
                (Rule::Replace(_) | Rule::ReplaceValue(_) | Rule::AtMostOne, _) => continue,
            };
            // All of them, so that no reader finds an old one.
            for span in spans {
                self.push(span.value.clone(), value.clone());
            }
        }
        self.remove(facts, |span| removed.contains(&span.member));
    }

    /// Cuts members out, each with one of the commas around it.
    fn remove(&mut self, facts: &BodyFacts, goes: impl Fn(&MemberSpan) -> bool) {
        let all = &facts.spans.members;
        let mut left = facts.spans.count;
        // Behind the last one that stays there is no comma, so the one before goes with those that end the object.
        let mut tail: Option<Range<usize>> = None;
        for span in all.iter().rev().take_while(|span| goes(span)) {
            if span.ordinal + 1 != left {
                break;
            }
            left = span.ordinal;
            let end = tail.map_or(span.value.end, |tail| tail.end);
            tail = Some(span.before..end);
        }
        for span in all.iter().filter(|span| span.ordinal < left && goes(span)) {
            self.push(span.start..span.next, "".into());
        }
        if let Some(tail) = tail {
            self.push(tail, "".into());
        }
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

/// Whether a JSON value is a number above 1.
fn exceeds_one(literal: &[u8]) -> bool {
    let number = std::str::from_utf8(literal).ok();
    number
        .and_then(|number| number.parse::<f64>().ok())
        .is_some_and(|number| number > 1.0)
}

#[cfg(test)]
mod tests;
