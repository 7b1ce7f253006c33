//! Who may take a request, and what outcomes change about that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::config::HealthConfig;
use crate::endpoint::{EndpointHealth, Tally};
use crate::{Cause, Change, Failure, Outcome, Standing, Ticket};

/// The circuit breaker of a router: settings and the count of endpoints in trouble.
#[derive(Debug)]
pub struct HealthPolicy {
    config: HealthConfig,
    origin: Instant,
    tally: Arc<Tally>,
}

/// Which endpoints of a list may take a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// All of them.
    All,
    /// Those at these positions, in order. Empty only if every endpoint is retired, or there is none.
    Only(Vec<usize>),
}

impl Admission {
    /// Whether the endpoint at `position` may take the request.
    pub fn contains(&self, position: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only(positions) => positions.binary_search(&position).is_ok(),
        }
    }
}

impl HealthPolicy {
    /// A policy with these settings. `origin` is any moment that is not after the first `now`.
    pub fn new(config: HealthConfig, origin: Instant) -> Self {
        Self {
            config,
            origin,
            tally: Arc::default(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &HealthConfig {
        &self.config
    }

    /// Which of a server's endpoints may take a new request. `rng` draws for those that are returning.
    ///
    /// Retired endpoints are left to [`Self::begin`] while nobody is in trouble: fresh snapshots do not list them.
    pub fn admit<'h, L>(&self, list: L, now: Instant, rng: &mut Rng) -> Admission
    where
        L: Iterator<Item = &'h EndpointHealth>,
    {
        if self.tally.is_zero() {
            return Admission::All;
        }
        let standings: Vec<Standing> = list.map(|health| self.standing(health, now)).collect();
        if standings
            .iter()
            .all(|standing| *standing == Standing::Trusted)
        {
            return Admission::All;
        }
        Admission::Only(self.admitted(&standings, rng))
    }

    fn admitted(&self, standings: &[Standing], rng: &mut Rng) -> Vec<usize> {
        let mut members = 0_usize;
        let mut admitted = Vec::with_capacity(standings.len());
        // Left out for failing, with how far they are from being tried again.
        let mut failing = Vec::new();
        let mut held_back = Vec::new();
        for (position, standing) in standings.iter().enumerate() {
            members += usize::from(*standing != Standing::Retired);
            match standing {
                Standing::Trusted | Standing::Probing { busy: false } => admitted.push(position),
                Standing::Returning { weight } if rng.f64() < *weight => admitted.push(position),
                Standing::Returning { .. } => held_back.push(position),
                Standing::Ejected { left } => failing.push((*left, position)),
                Standing::Probing { busy: true } => failing.push((Duration::ZERO, position)),
                Standing::Retired => {}
            }
        }
        let most = self.most_left_out(members);
        if failing.len() > most {
            failing.sort_unstable();
            let back = failing.len() - most;
            admitted.extend(failing.drain(..back).map(|(_, position)| position));
        }
        if admitted.is_empty() {
            admitted = held_back;
        }
        if admitted.is_empty() {
            admitted.extend(failing.iter().min().map(|(_, position)| *position));
        }
        admitted.sort_unstable();
        admitted
    }

    /// How many of `members` endpoints may be left out for failing.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count of endpoints lies between zero and that count"
    )]
    fn most_left_out(&self, members: usize) -> usize {
        let share = self.config.max_ejected_share.clamp(0.0, 1.0);
        let most = (members as f64 * share).floor() as usize;
        most.min(members.saturating_sub(1))
    }

    /// How an endpoint stands.
    pub fn standing(&self, health: &EndpointHealth, now: Instant) -> Standing {
        if health.is_retired() {
            return Standing::Retired;
        }
        if !health.is_in_trouble() {
            return Standing::Trusted;
        }
        let mut course = health.course();
        if course.advance(&self.config, now) {
            health.leave_trouble();
        }
        course.standing(&self.config, now)
    }

    /// Begins an attempt; `None` if the pod is leaving. The first that begins while an endpoint is probing becomes the
    /// probe. Nobody else is refused: whoever was admitted beside it is there because too many others are left out.
    pub fn begin(&self, health: &EndpointHealth, now: Instant) -> Option<Ticket> {
        if health.is_retired() {
            return None;
        }
        if health.is_in_trouble() {
            let mut course = health.course();
            if course.advance(&self.config, now) {
                health.leave_trouble();
            }
            course.take_probe(&self.config, now);
        }
        Some(Ticket {
            generation: health.generation.load(Ordering::Acquire),
        })
    }

    /// Takes in the outcome of an attempt. An answer that breaks off is reported again, with the same ticket.
    pub fn report(
        &self,
        health: &EndpointHealth,
        ticket: Ticket,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Change> {
        if ticket.generation != health.generation.load(Ordering::Acquire) {
            return None;
        }
        if health.is_in_trouble()
            && let Settled::Yes(change) = self.report_in_trouble(health, ticket, outcome, now)
        {
            return change;
        }
        let cause = self.count(health, outcome, now)?;
        self.eject(health, ticket, cause, now)
    }

    /// What an outcome means for an endpoint that is ejected or probing.
    fn report_in_trouble(
        &self,
        health: &EndpointHealth,
        ticket: Ticket,
        outcome: Outcome,
        now: Instant,
    ) -> Settled {
        let mut course = health.course();
        if ticket.generation != health.generation.load(Ordering::Acquire) {
            return Settled::Yes(None);
        }
        if course.is_ejected() {
            // It was admitted although it is ejected, because too many others are: its period stays as it is.
            return Settled::Yes(None);
        }
        if !course.is_probing() {
            return Settled::No;
        }
        let change = match outcome {
            Outcome::Abandoned => {
                course.give_probe_back();
                return Settled::Yes(None);
            }
            Outcome::Answered { .. } | Outcome::Busy => {
                let change = course.come_back(now);
                if course.advance(&self.config, now) {
                    health.leave_trouble();
                }
                change
            }
            Outcome::Failed(_) => course.eject(&self.config, Cause::Probe, now),
        };
        health.generation.fetch_add(1, Ordering::AcqRel);
        health.clear_counts();
        Settled::Yes(Some(change))
    }

    /// Counts an outcome and says whether that was one too many.
    fn count(&self, health: &EndpointHealth, outcome: Outcome, now: Instant) -> Option<Cause> {
        let (failure, slow) = match outcome {
            Outcome::Abandoned => return None,
            Outcome::Busy => {
                reset(&health.streak);
                reset(&health.connect_streak);
                return None;
            }
            Outcome::Answered { connect } => (
                None,
                connect.is_some_and(|took| took > self.config.slow_connect),
            ),
            Outcome::Failed(failure) => (Some(failure), false),
        };
        let half = self.half(now);
        health.window.count(half, failure.is_some() || slow);
        let over = |count: &std::sync::atomic::AtomicU32, limit: u32| {
            let reached = count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            limit > 0 && reached >= limit
        };
        let mut cause = None;
        match failure {
            None => {
                reset(&health.streak);
                reset(&health.connect_streak);
                if !slow {
                    return None;
                }
            }
            Some(Failure::Internal) => reset(&health.connect_streak),
            Some(Failure::Connect) => {
                if over(&health.streak, self.config.consecutive_failures) {
                    cause = Some(Cause::Consecutive);
                }
                if over(
                    &health.connect_streak,
                    self.config.consecutive_connect_failures,
                ) {
                    cause = Some(Cause::Connections);
                }
            }
            Some(_) => {
                reset(&health.connect_streak);
                if over(&health.streak, self.config.consecutive_failures) {
                    cause = Some(Cause::Consecutive);
                }
            }
        }
        cause.or_else(|| self.is_rate_too_high(health, half).then_some(Cause::Rate))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a window are below 2^21"
    )]
    fn is_rate_too_high(&self, health: &EndpointHealth, half: u64) -> bool {
        let volume = health.window.volume(half);
        volume.total >= u64::from(self.config.min_volume.max(1))
            && volume.failures as f64 >= volume.total as f64 * self.config.error_rate
    }

    fn eject(
        &self,
        health: &EndpointHealth,
        ticket: Ticket,
        cause: Cause,
        now: Instant,
    ) -> Option<Change> {
        let mut course = health.course();
        // Another outcome may have ejected it since.
        if ticket.generation != health.generation.load(Ordering::Acquire) {
            return None;
        }
        course.advance(&self.config, now);
        let change = course.eject(&self.config, cause, now);
        health.enter_trouble(&self.tally);
        health.generation.fetch_add(1, Ordering::AcqRel);
        health.clear_counts();
        Some(change)
    }

    /// Number of the half-window that `now` lies in.
    fn half(&self, now: Instant) -> u64 {
        let half = (self.config.window / 2).as_nanos().max(1);
        let since = now.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(since / half).unwrap_or(u64::MAX)
    }
}

/// Whether an outcome needs no counting any more.
enum Settled {
    Yes(Option<Change>),
    No,
}

/// Sets a counter to zero without writing when it is.
fn reset(count: &std::sync::atomic::AtomicU32) {
    if count.load(Ordering::Relaxed) != 0 {
        count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
