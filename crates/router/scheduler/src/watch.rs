//! Looking on while a decision is made: to time plugins, or to explain the result.

use crate::plugin::Score;

/// A step of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The plugin's name.
    pub plugin: &'static str,
    /// What it does.
    pub kind: StepKind,
}

/// What a plugin does in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// Takes out candidates.
    Filter,
    /// Marks candidates.
    Score,
}

/// What came of a step. Positions are those in the list that the candidates are from.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// A filter took out the candidates at these positions.
    Dropped(&'a [u32]),
    /// A scorer gave the candidates at `positions` these marks, which count `weight` times.
    Marks {
        /// The candidates that were marked.
        positions: &'a [u32],
        /// One for each of them.
        marks: &'a [Score],
        /// The scorer's weight.
        weight: i64,
    },
}

/// Looks on. The shell that times plugins has the clock; nothing is measured for `()`.
pub trait Watch {
    /// A plugin is about to run.
    fn begins(&mut self, step: Step);

    /// It has run.
    fn ended(&mut self, step: Step, seen: Seen<'_>);
}

impl Watch for () {
    fn begins(&mut self, _step: Step) {}

    fn ended(&mut self, _step: Step, _seen: Seen<'_>) {}
}

impl<A: Watch, B: Watch> Watch for (A, B) {
    fn begins(&mut self, step: Step) {
        self.0.begins(step);
        self.1.begins(step);
    }

    fn ended(&mut self, step: Step, seen: Seen<'_>) {
        self.0.ended(step, seen);
        self.1.ended(step, seen);
    }
}

impl<W: Watch> Watch for Option<W> {
    fn begins(&mut self, step: Step) {
        if let Some(watch) = self {
            watch.begins(step);
        }
    }

    fn ended(&mut self, step: Step, seen: Seen<'_>) {
        if let Some(watch) = self {
            watch.ended(step, seen);
        }
    }
}

impl<W: Watch + ?Sized> Watch for &mut W {
    fn begins(&mut self, step: Step) {
        (**self).begins(step);
    }

    fn ended(&mut self, step: Step, seen: Seen<'_>) {
        (**self).ended(step, seen);
    }
}

/// Keeps everything, for the person who asked why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// Candidates that a filter took out, with its name.
    pub dropped: Vec<(u32, &'static str)>,
    /// Each scorer in order.
    pub scorers: Vec<TracedScorer>,
}

/// One scorer's part in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedScorer {
    /// Its name.
    pub name: &'static str,
    /// How often its marks count.
    pub weight: i64,
    /// Candidates with their marks.
    pub marks: Vec<(u32, i64)>,
}

impl Trace {
    /// What each scorer gave the candidate at `position`: name, mark, weight.
    pub fn marks_of(&self, position: u32) -> impl Iterator<Item = (&'static str, i64, i64)> {
        self.scorers.iter().filter_map(move |scorer| {
            let (_, mark) = scorer.marks.iter().find(|(at, _)| *at == position)?;
            Some((scorer.name, *mark, scorer.weight))
        })
    }
}

impl Watch for Trace {
    fn begins(&mut self, _step: Step) {}

    fn ended(&mut self, step: Step, seen: Seen<'_>) {
        match seen {
            Seen::Dropped(positions) => {
                let dropped = positions.iter().map(|position| (*position, step.plugin));
                self.dropped.extend(dropped);
            }
            Seen::Marks {
                positions,
                marks,
                weight,
            } => {
                let marks = marks.iter().map(|mark| mark.0);
                self.scorers.push(TracedScorer {
                    name: step.plugin,
                    weight,
                    marks: positions.iter().copied().zip(marks).collect(),
                });
            }
        }
    }
}
