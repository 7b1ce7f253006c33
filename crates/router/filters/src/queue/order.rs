//! Who goes next among those who wait.
//!
//! Every user has a line of their own; lines are ranked by the user's priority, equal ones by who stands at their head
//! the longest. That is a true order, whatever the priorities do, and within a line nobody of the same kind overtakes.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// How much a user has had; less goes first. Ordered over all doubles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Priority(pub(crate) f64);

/// Behind every user that is known, whatever they consumed.
pub(crate) const LAST: Priority = Priority(f64::MAX);

/// Where a request stands in its user's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) boost: Boost,
    /// Order of arrival.
    pub(crate) arrival: u64,
}

/// Whether the request belongs to a session that was served a moment ago: those go first, the latest before others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Boost {
    Recent(Reverse<Instant>),
    None,
}

/// The order of all who wait.
#[derive(Debug, Default)]
pub(crate) struct Order {
    lines: HashMap<Arc<str>, Line>,
    ranked: BTreeSet<Rank>,
}

#[derive(Debug)]
struct Line {
    priority: Priority,
    /// With what each request adds to the priority while it is at the head.
    waiting: BTreeMap<Place, f64>,
}

/// A line among the lines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: Priority,
    head: Place,
    user: Arc<str>,
}

impl Order {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranked.is_empty()
    }

    /// Adds a request of `user`, whose priority is `priority` from now on. `cost` is what it adds to that.
    pub(crate) fn push(&mut self, user: &Arc<str>, place: Place, priority: Priority, cost: f64) {
        self.change(user, |line| {
            line.priority = priority;
            line.waiting.insert(place, cost);
        });
    }

    /// Takes a request out that will not wait any longer.
    pub(crate) fn remove(&mut self, user: &Arc<str>, place: Place) {
        self.change(user, |line| {
            line.waiting.remove(&place);
        });
    }

    /// Takes out who goes next.
    pub(crate) fn pop(&mut self) -> Option<(Arc<str>, Place)> {
        let first = self.ranked.first()?;
        let (user, place) = (Arc::clone(&first.user), first.head);
        self.remove(&user, place);
        Some((user, place))
    }

    /// Sets a user's priority if they wait. Returns whether somebody else goes next because of it.
    pub(crate) fn set_priority(&mut self, user: &str, priority: Priority) -> bool {
        let Some((user, line)) = self.lines.get_key_value(user) else {
            return false;
        };
        if line.priority == priority {
            return false;
        }
        let user = Arc::clone(user);
        let before = self.next().cloned();
        self.change(&user, |line| line.priority = priority);
        before != self.next().cloned()
    }

    /// Users who wait, in no order.
    pub(crate) fn users(&self) -> Vec<Arc<str>> {
        self.lines.keys().cloned().collect()
    }

    fn next(&self) -> Option<&Arc<str>> {
        self.ranked.first().map(|rank| &rank.user)
    }

    fn change(&mut self, user: &Arc<str>, change: impl FnOnce(&mut Line)) {
        let line = self.lines.entry(Arc::clone(user)).or_insert_with(|| Line {
            priority: LAST,
            waiting: BTreeMap::new(),
        });
        if let Some(rank) = line.rank(user) {
            self.ranked.remove(&rank);
        }
        change(line);
        match line.rank(user) {
            Some(rank) => drop(self.ranked.insert(rank)),
            None => drop(self.lines.remove(user)),
        }
    }
}

impl Line {
    fn rank(&self, user: &Arc<str>) -> Option<Rank> {
        let (head, cost) = self.waiting.first_key_value()?;
        let priority = if self.priority == LAST {
            LAST
        } else {
            Priority((self.priority.0 + cost).min(f64::MAX.next_down()))
        };
        Some(Rank {
            priority,
            head: *head,
            user: Arc::clone(user),
        })
    }
}

impl PartialEq for Priority {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Priority {}

impl PartialOrd for Priority {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Priority {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests;
