//! Whether the router's tokens of a model are the engine's.
//!
//! # Invariants
//!
//! - A check is under way at most once per kind of prompt.
//! - Tokens count as the engine's until a check finds that they are not, and then as wrong until a check agrees.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kthena_router_observability::figures::{KindFigures, TokenizerFigures};
use kthena_router_tokenizer::Kind;
use tokio::time::Instant;

/// After a check that found fault or nothing, the next comes this much sooner.
const SOONER: u32 = 5;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The engine has the same tokens.
    Same,
    /// It has others from this one on, counted from 0.
    Different(usize),
    /// The engine did not tell.
    Unanswered,
}

impl Verdict {
    /// What an engine's tokens say of ours.
    pub fn of(ours: &[u32], theirs: &[u32]) -> Self {
        let same = ours
            .iter()
            .zip(theirs)
            .take_while(|(one, other)| one == other);
        let same = same.count();
        if same == ours.len() && same == theirs.len() {
            Self::Same
        } else {
            Self::Different(same)
        }
    }
}

/// What became of the prompts of one model, each kind by itself for what can be wrong with it.
#[derive(Debug)]
pub struct Checks {
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    prompts: [u64; 4],
    kinds: [KindState; 3],
}

#[derive(Debug, Default)]
struct KindState {
    differs: bool,
    /// `None` = at once.
    due: Option<Instant>,
    under_way: bool,
    same: u64,
    different: u64,
    unanswered: u64,
}

/// What became of one prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has tokens.
    Tokenized,
    /// Its tokens depend on more than its texts.
    Unsupported,
    /// The template or the tokenizer failed on it.
    Failed,
    /// Its tokens would have taken too long.
    Late,
}

const KINDS: [(Kind, &str); 3] = [
    (Kind::Text, "text"),
    (Kind::Chat, "chat"),
    (Kind::Tools, "tools"),
];

const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Tokenized, "tokenized"),
    (Outcome::Unsupported, "unsupported"),
    (Outcome::Failed, "failed"),
    (Outcome::Late, "late"),
];

/// A check that is under way. One that is given up counts as unanswered.
pub struct Checking {
    checks: Arc<Checks>,
    kind: Kind,
    verdict: Verdict,
    /// Spreads the checks of several routers: from 0 to 1.
    jitter: f64,
}

impl Checks {
    /// Checks each kind of prompt about once per `period`.
    pub fn new(period: Duration) -> Arc<Self> {
        Arc::new(Self {
            period,
            state: Mutex::default(),
        })
    }

    /// Whether the engine's own answer is to be used for prompts of this kind.
    pub fn differs(&self, kind: Kind) -> bool {
        self.lock().of(kind).differs
    }

    /// Begins a check, if it is time for one.
    pub fn begin(self: &Arc<Self>, kind: Kind, now: Instant, jitter: f64) -> Option<Checking> {
        let mut state = self.lock();
        let state = state.of(kind);
        let due = state.due.is_none_or(|due| due <= now);
        if !due || state.under_way {
            return None;
        }
        state.under_way = true;
        Some(Checking {
            checks: Arc::clone(self),
            kind,
            verdict: Verdict::Unanswered,
            jitter,
        })
    }

    /// Counts a prompt.
    pub fn count(&self, outcome: Outcome) {
        let at = OUTCOMES.iter().position(|(other, _)| *other == outcome);
        self.lock().prompts[at.unwrap_or(0)] += 1;
    }

    /// Numbers for metrics. `model` is the name engines know the model by.
    pub fn figures(&self, model: &str) -> TokenizerFigures {
        let mut state = self.lock();
        let prompts = OUTCOMES.iter().zip(state.prompts);
        TokenizerFigures {
            model: model.to_owned(),
            prompts: prompts.map(|((_, name), count)| (*name, count)).collect(),
            kinds: KINDS
                .iter()
                .map(|&(kind, name)| {
                    let state = state.of(kind);
                    KindFigures {
                        kind: name,
                        differs: state.differs,
                        same: state.same,
                        different: state.different,
                        unanswered: state.unanswered,
                    }
                })
                .collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(&mut self, kind: Kind) -> &mut KindState {
        let at = KINDS.iter().position(|(other, _)| *other == kind);
        &mut self.kinds[at.unwrap_or(0)]
    }
}

impl Checking {
    /// Ends the check. Gives whether tokens differed before, and whether they do now.
    pub fn end(mut self, verdict: Verdict) -> (bool, bool) {
        self.verdict = verdict;
        let before = self.checks.differs(self.kind);
        let (checks, kind) = (Arc::clone(&self.checks), self.kind);
        drop(self);
        (before, checks.differs(kind))
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        let mut state = self.checks.lock();
        let state = state.of(self.kind);
        state.under_way = false;
        match self.verdict {
            Verdict::Same => {
                state.differs = false;
                state.same += 1;
            }
            Verdict::Different(_) => {
                state.differs = true;
                state.different += 1;
            }
            Verdict::Unanswered => state.unanswered += 1,
        }
        let period = match self.verdict {
            Verdict::Same => self.checks.period,
            Verdict::Different(_) | Verdict::Unanswered => self.checks.period / SOONER,
        };
        state.due = Some(Instant::now() + period.mul_f64(0.75 + self.jitter.clamp(0.0, 1.0) / 2.0));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kthena_router_tokenizer::Kind;
    use rstest::rstest;
    use tokio::time::{Instant, advance};

    use super::{Checks, SOONER, Verdict};

    const PERIOD: Duration = Duration::from_secs(100);
    /// In the middle.
    const JITTER: f64 = 0.5;

    #[rstest]
    #[case(&[1, 2], &[1, 2], Verdict::Same)]
    #[case(&[], &[], Verdict::Same)]
    #[case(&[1, 2], &[1, 3], Verdict::Different(1))]
    #[case(&[1, 2], &[1], Verdict::Different(1))]
    #[case(&[1], &[1, 2], Verdict::Different(1))]
    fn verdicts(#[case] ours: &[u32], #[case] theirs: &[u32], #[case] wanted: Verdict) {
        assert_eq!(Verdict::of(ours, theirs), wanted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_is_checked_at_once_and_then_each_period() {
        let checks = Checks::new(PERIOD);
        let begin = |kind| checks.begin(kind, Instant::now(), JITTER);
        let first = begin(Kind::Chat).unwrap();
        assert!(begin(Kind::Chat).is_none(), "one is under way");
        assert!(begin(Kind::Text).is_some(), "another kind");
        assert_eq!(first.end(Verdict::Same), (false, false));

        advance(PERIOD.saturating_sub(Duration::from_millis(1))).await;
        assert!(begin(Kind::Chat).is_none());
        advance(Duration::from_millis(1)).await;
        let second = begin(Kind::Chat).unwrap();
        assert_eq!(second.end(Verdict::Different(3)), (false, true));
        assert!(checks.differs(Kind::Chat) && !checks.differs(Kind::Tools));

        advance(PERIOD / SOONER).await;
        let third = begin(Kind::Chat).unwrap();
        assert_eq!(
            third.end(Verdict::Unanswered),
            (true, true),
            "nothing is learnt"
        );
        advance(PERIOD / SOONER).await;
        assert_eq!(begin(Kind::Chat).unwrap().end(Verdict::Same), (true, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_is_given_up_is_not_the_last() {
        let checks = Checks::new(PERIOD);
        drop(checks.begin(Kind::Text, Instant::now(), JITTER));
        assert_eq!(checks.figures("m").kinds[0].unanswered, 1);
        advance(PERIOD / SOONER).await;
        assert!(checks.begin(Kind::Text, Instant::now(), JITTER).is_some());
    }
}
