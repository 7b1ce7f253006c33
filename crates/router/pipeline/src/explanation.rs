//! Why a request went where it went, in one line for the person who asked.
//!
//! The line is a header value: whatever the names in it are, it consists of visible ASCII and spaces.

use std::fmt::{self, Display, Write};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::plan::{MatchedRule, Plan};

/// Longest name of a rule that is shown whole, in characters.
const LONGEST_NAME: usize = 64;

/// The account of one decision. It exists only for requests that ask for it.
#[derive(Debug)]
pub struct Explanation {
    /// Route, rule and server.
    way: String,
    /// Candidates in order of preference, with their requests in flight.
    candidates: SmallVec<[(Arc<str>, u32); 5]>,
    /// There were more candidates than are listed.
    more: bool,
    /// Pods that were tried in vain, and why.
    failed: Vec<(Arc<str>, String)>,
}

impl Explanation {
    /// Notes how `plan` came about. Call it before the first attempt: the counts are those of this moment.
    pub fn new(rule: MatchedRule<'_>, plan: &Plan) -> Self {
        let destination = &plan.destination;
        let way = format!(
            "route {} {} -> server {}",
            Ascii(&destination.route),
            RuleLabel(rule),
            Ascii(&destination.backend)
        );
        let candidates = plan.attempts.candidates().iter().map(|candidate| {
            let endpoint = &candidate.endpoint;
            (Arc::clone(&endpoint.pod().name), endpoint.in_flight())
        });
        let candidates: SmallVec<[_; 5]> = candidates.collect();
        Self {
            way,
            more: plan.considered > candidates.len(),
            candidates,
            failed: Vec::new(),
        }
    }

    /// `pod` was tried in vain.
    pub fn note_failure(&mut self, pod: &Arc<str>, why: &dyn Display) {
        self.failed.push((Arc::clone(pod), why.to_string()));
    }

    /// The line when `pod` answered, or none did.
    pub fn line(&self, pod: Option<&str>) -> String {
        let mut line = self.way.clone();
        // Writing to a String cannot fail.
        let _ = self.write_rest(pod, &mut line);
        line
    }

    fn write_rest(&self, pod: Option<&str>, out: &mut String) -> fmt::Result {
        let Some(pod) = pod else {
            out.push_str(" -> no pod answered: ");
            return self.write_failed(out);
        };
        write!(out, " -> pod {}", Ascii(pod))?;
        if !self.failed.is_empty() {
            out.push_str(" after ");
            self.write_failed(out)?;
        }
        write!(out, ": {} (", self.reason(pod))?;
        write_list(&self.candidates, out, |(name, count), out| {
            write!(out, "{} {count}", Ascii(name))
        })?;
        out.push_str(if self.more { ", ...)" } else { ")" });
        Ok(())
    }

    fn write_failed(&self, out: &mut String) -> fmt::Result {
        write_list(&self.failed, out, |(name, why), out| {
            write!(out, "{} ({})", Ascii(name), Ascii(why))
        })
    }

    fn reason(&self, pod: &str) -> &'static str {
        let count = |wanted: &(Arc<str>, u32)| *wanted.0 == *pod;
        let own = self.candidates.iter().find(|entry| count(entry));
        let equals = self
            .candidates
            .iter()
            .filter(|(_, count)| own.is_some_and(|(_, own)| own == count));
        match (self.failed.len(), self.candidates.len()) {
            (0, 1) => "the only pod; requests in flight",
            (0, _) if equals.count() > 1 => "fewest requests in flight, drawn by lot among equals",
            (0, _) => "fewest requests in flight",
            _ => "next fewest requests in flight",
        }
    }
}

fn write_list<T>(
    items: &[T],
    out: &mut String,
    write_item: impl Fn(&T, &mut String) -> fmt::Result,
) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push_str(", ");
        }
        write_item(item, out)?;
    }
    Ok(())
}

/// A text with everything escaped that a header value must not hold.
struct Ascii<'a>(&'a str);

impl Display for Ascii<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            if matches!(char, ' '..='~') {
                f.write_char(char)?;
            } else {
                write!(f, "{}", char.escape_default())?;
            }
        }
        Ok(())
    }
}

/// `rule <name>`, or `rules[<position>]` for a rule without a name.
struct RuleLabel<'a>(MatchedRule<'a>);

impl Display for RuleLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = self.0.name.filter(|name| !name.is_empty()) else {
            return write!(f, "rules[{}]", self.0.position);
        };
        match name.char_indices().nth(LONGEST_NAME) {
            None => write!(f, "rule {}", Ascii(name)),
            Some((end, _)) => write!(f, "rule {}...", Ascii(&name[..end])),
        }
    }
}

#[cfg(test)]
mod tests;
